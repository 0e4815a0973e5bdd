"""What a keeper unpacks on its node exists only as long as its process."""

from __future__ import annotations

from pathlib import Path

from pangea.launch.identities import Identities
from pangea.launch.ray_keeper import Credentials, unpacked


def test_an_identity_is_private_and_ends_with_the_process() -> None:
    identity = Identities("first", ("worker-1",)).of("worker-1")
    with unpacked(Credentials(identity, {"MORE": "1"})) as variables:
        folder = Path(variables["PANGEA_IDENTITY"])
        assert variables["MORE"] == "1"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "key.pem").read_bytes() == identity.key
    assert not folder.exists()


def test_without_an_identity_there_are_only_the_given_variables() -> None:
    with unpacked(Credentials(environment={"PANGEA_INSECURE": "1"})) as variables:
        assert variables == {"PANGEA_INSECURE": "1"}
