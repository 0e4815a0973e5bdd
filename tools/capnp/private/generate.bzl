"""Runs a compiler plugin over a library's CodeGeneratorRequest."""

def run_plugin(ctx, info, plugin, outputs, mnemonic):
    """Runs `plugin` in an empty folder and takes the files that it leaves there.

    Args:
        ctx: the rule's context.
        info: CapnpInfo of the schema.
        plugin: FilesToRunProvider of the plugin; it reads the request on stdin.
        outputs: dict of the name that the plugin gives a file to the declared File.
        mnemonic: of the action.
    """
    arguments = ctx.actions.args()
    arguments.add(plugin.executable)
    arguments.add(info.request)
    for name, output in outputs.items():
        arguments.add(name)
        arguments.add(output)
    ctx.actions.run_shell(
        # The plugin writes into its working folder; names are relative to the source prefix.
        command = """set -eu
plugin=$PWD/$1; request=$PWD/$2; shift 2; top=$PWD
folder=$(mktemp -d); cd "$folder"
"$plugin" < "$request"
while [ $# -gt 0 ]; do cp "$1" "$top/$2"; shift 2; done
""",
        arguments = [arguments],
        inputs = [info.request],
        outputs = outputs.values(),
        tools = [plugin],
        mnemonic = mnemonic,
        progress_message = "Generating %s from Cap'n Proto schema %%{label}" % mnemonic,
    )

def relative_name(info, source):
    """The name of a schema as plugins see it: relative to its package."""
    return source.short_path.removeprefix("../").removeprefix(info.source_prefix.removeprefix("external/") + "/")
