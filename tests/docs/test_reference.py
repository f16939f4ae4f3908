"""Every public name, flag and setting is in the reference, with something said of it."""

import importlib
import inspect
import pkgutil

import pytest

import minirpn
from docs.extensions import library
from minirpn.cli.main import COMMANDS, build_parser
from minirpn.cli.settings import FLAGS
from minirpn.training.config import TrainConfig
from minirpn.training.tables import flat, to_table

pytestmark = pytest.mark.slow  # builds the documentation


def modules_with_names():
    """Return every importable module of minirpn that says what is public."""
    found = []
    for part in pkgutil.walk_packages(minirpn.__path__, "minirpn."):
        if part.name.startswith("minirpn.cli") or part.name.endswith("__main__"):
            continue
        module = importlib.import_module(part.name)
        if hasattr(module, "__all__"):
            found.append(module)
    return found


def test_every_public_name_is_documented(site):
    objects = {name for role, name in site.entries if role.startswith("py:")}
    missing = []
    for module in modules_with_names():
        # What a package hands on is documented at the package.
        parent = importlib.import_module(module.__name__.rpartition(".")[0])
        for name in set(module.__all__) - set(getattr(parent, "__all__", ())):
            address = f"{module.__name__}.{name}"
            if address not in objects:
                missing.append(address)
    assert not missing
    assert {f"minirpn.boxes.{name}" for name in ("iou", "nms", "encode", "decode")} <= objects
    assert {"minirpn.errors.InputError", "minirpn.backend.to_host"} <= objects


def test_every_public_name_has_a_word_said_of_it():
    silent = []
    for units in library.units():
        for unit in units:
            for name in library.public_names(importlib.import_module(f"minirpn.{unit}")):
                silent += [name.address] * (not library.summary(name))
    assert not silent


def test_every_unit_has_a_page(site):
    here = {part.name for part in pkgutil.iter_modules(minirpn.__path__)}
    for unit in here - {"_typing", "_checks", "_positions", "__main__", "cli"}:
        assert (site.folder / f"reference/library/{unit}.html").exists(), unit


def test_every_flag_is_documented_with_its_help(site):
    options = {name for role, name in site.entries if role == "std:cmdoption"}
    parser = build_parser()
    for command in COMMANDS:
        subparser = library_subparser(parser, command.NAME)
        for action in subparser._actions:
            for flag in action.option_strings or [action.metavar]:
                if flag in ("-h", "--help"):
                    continue
                assert action.help, flag
                assert f"minirpn-{command.NAME}.{flag}" in options, f"{command.NAME} {flag}"
    assert {"minirpn.--version", "minirpn.--debug"} <= options


def library_subparser(parser, name):
    """Return the parser of a command, as argparse itself finds it."""
    [commands] = [action for action in parser._actions if action.dest == "==SUPPRESS=="
                  and action.choices]  # fmt: skip
    return commands.choices[name]


def test_every_setting_is_documented_with_its_meaning(site):
    from docs.extensions import settings

    labels = {name for role, name in site.entries if role == "std:label"}
    config = TrainConfig()
    for key in flat(to_table(config)):
        section, _, name = key.partition(".")
        assert settings.meanings(type(getattr(config, section))).get(name), key
        text = (site.folder / "reference/settings.html").read_text()
        assert f'id="setting-{key.replace(".", "-").replace("_", "-")}"' in text, key
    assert len({flag.name for group in FLAGS.values() for flag in group}) > 20
    assert labels


def test_fields_of_named_tuples_are_explained(site):
    text = (site.folder / "reference/library/rpn.html").read_text()
    assert "the ground truth with the largest IoU; -1 if there is none" in text
    assert "Alias for field number" not in text


@pytest.mark.parametrize("unit", [unit for units in library.units() for unit in units])
def test_public_functions_describe_each_parameter(unit):
    """Parameters that are not self-evident are in the docstring, as NumPy's style asks."""
    for name in library.public_names(importlib.import_module(f"minirpn.{unit}")):
        if not inspect.isfunction(name.value):
            continue
        doc = inspect.getdoc(name.value)
        parameters = list(inspect.signature(name.value).parameters)
        if "Parameters\n" in doc:
            for parameter in parameters:
                assert parameter in doc, f"{name.address}: {parameter}"
