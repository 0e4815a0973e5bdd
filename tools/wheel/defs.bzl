"""`python_wheel`: a package with what it starts as a wheel, which pip, uv and conda's pip install."""

load("//tools/wheel/private:wheel.bzl", _python_wheel = "python_wheel")

python_wheel = _python_wheel
