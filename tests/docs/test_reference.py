"""Every public name, flag and setting is in the reference, with something said of it."""

import importlib
import inspect
import json
import pkgutil
import re

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


def public_names():
    """Return the address of every public name, as users import it."""
    pytest.importorskip("sphinx", reason="needs the extra 'docs'")
    units = library.modules(minirpn)
    return [name for unit in units for names in library.pages(unit).values() for name in names]


def entries(site):
    """Return what the pages of the library say of each object, as HTML."""
    found = {}
    for page in (site.folder / "reference/library").glob("*.html"):
        start = r'<dt class="sig sig-object py" id="([^"]+)">'
        parts = re.split(start, page.read_text())[1:]
        found |= dict(zip(parts[::2], parts[1::2], strict=True))
    return found


def test_every_public_name_has_a_word_said_of_it(site):
    said = entries(site)
    names = public_names()
    assert len(names) > 600
    silent = [name for name in names if not re.search(r"</dt>\s*<dd><p>(<[^>]+>)*\w", said[name])]
    assert not silent


def test_a_name_is_documented_as_soon_as_it_is_public(monkeypatch):
    rpn = importlib.import_module("minirpn.rpn")
    monkeypatch.setattr(rpn, "__all__", [*rpn.__all__, "assign"])
    before = library.pages("minirpn.rpn")["minirpn.rpn.targets"]
    assert "minirpn.rpn.assign" in before
    monkeypatch.undo()
    assert "minirpn.rpn.assign" not in library.pages("minirpn.rpn")["minirpn.rpn.targets"]


def test_every_name_of_the_door_leads_to_its_entry(site):
    text = (site.folder / "reference/api.html").read_text()
    links = dict(re.findall(r'href="library/[^"]+#([\w.]+)"[^>]*><code[^>]*>(.*?)</code>', text))
    led = {re.sub("<[^>]+>", "", shown): address for address, shown in links.items()}
    for name in minirpn.__all__:
        value = getattr(minirpn, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert library.value_of(led[f"minirpn.{name}"]) is value


def test_a_page_is_a_topic():
    """The layers are on one page, the losses on another; long classes have pages of their own."""
    pages = library.pages("minirpn.nn")
    assert "minirpn.nn.smooth_l1_forward" in pages["minirpn.nn.losses"]
    assert "minirpn.nn.Conv2d" in library.long_classes(pages["minirpn.nn.layers"])
    assert not library.long_classes(pages["minirpn.nn.losses"])


def test_types_are_shown_as_the_source_has_them(site):
    said = entries(site)
    for page in (site.folder / "reference/library").glob("*.html"):
        assert not re.search(r"TypeAliasForwardRef|dtype\[", page.read_text()), page
    assert re.search(r"<strong>a</strong> \(<em>Array</em>\)", said["minirpn.boxes.iou"])
    assert "Return type" in said["minirpn.boxes.iou"]
    signature = re.sub(r"<[^>]+>", "", said["minirpn.nn.relu_backward"].split("</dt>")[0])
    assert "dy: Array, cache: ReluCache" in signature
    assert "Array" in signature.partition(")")[2]


@pytest.mark.parametrize(
    "name",
    [
        "boxes.iou",
        "boxes.encode",
        "boxes.decode",
        "rpn.base_anchors",
        "rpn.grid_anchors",
        "rpn.label_anchors",
        "rpn.rpn_loss_forward",
        "rpn.object_scores",
        "nn.smooth_l1_forward",
        "nn.softmax_cross_entropy_forward",
        "nn.sigmoid_cross_entropy_forward",
        "nn.SGD",
        "nn.StepSchedule",
        "nn.conv2d_forward",
        "nn.linear_forward",
        "nn.lrn_forward",
        "nn.roi_align_forward",
        "nn.roi_pool_forward",
        "evaluation.proposal_recall",
        "evaluation.average_precision",
    ],
)
def test_what_is_a_formula_shows_it(site, name):
    assert re.search(r'class="math notranslate', entries(site)[f"minirpn.{name}"])


def test_the_search_finds_functions(site):
    text = (site.folder / "searchindex.js").read_text()
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    objects = {
        f"{module}.{entry[-1]}" for module, found in index["objects"].items() for entry in found
    }
    assert {"minirpn.nn.smooth_l1_forward", "minirpn.rpn.propose", "minirpn.models.load"} <= objects


def test_flags_and_settings_lead_to_each_other(site):
    settings = (site.folder / "reference/settings.html").read_text()
    commands = (site.folder / "reference/commands.html").read_text()
    for group in FLAGS.values():
        for flag in group:
            assert f'href="commands.html#minirpn-train-{flag.name}"' in settings, flag.name
            anchor = f"setting-{flag.key}".replace(".", "-").replace("_", "-")
            assert f'href="settings.html#{anchor}"' in commands, flag.key


def test_every_command_is_in_the_table(site):
    text = (site.folder / "reference/commands.html").read_text()
    table = text[text.index("<table") : text.index("</table>")]
    for command in COMMANDS:
        assert f"minirpn-{command.NAME}" in table, command.NAME


def test_choices_of_flags_are_said(site):
    text = (site.folder / "reference/commands.html").read_text()
    for name, command in library_subparsers().items():
        for action in command._actions:
            for flag in action.option_strings[:1] if action.choices else ():
                start = text.index(f'id="minirpn-{name}-{flag}"')
                entry = re.sub(r"<[^>]+>", "", text[start : text.index("</li>", start)])
                assert all(str(choice) in entry for choice in action.choices), f"{name} {flag}"


def test_every_unit_has_a_page(site):
    here = {part.name for part in pkgutil.iter_modules(minirpn.__path__)}
    table = (site.folder / "reference/api.html").read_text()
    for unit in here - {"_typing", "_checks", "_positions", "__main__", "cli"}:
        assert (site.folder / f"reference/library/minirpn.{unit}.html").exists(), unit
        assert f'href="library/minirpn.{unit}.html' in table, unit


def test_every_flag_is_documented_with_its_help(site):
    options = {name for role, name in site.entries if role == "std:cmdoption"}
    parsers = library_subparsers()
    for command in COMMANDS:
        subparser = parsers[command.NAME]
        for action in subparser._actions:
            for flag in action.option_strings or [action.metavar]:
                if flag in ("-h", "--help"):
                    continue
                assert action.help, flag
                assert f"minirpn-{command.NAME}.{flag}" in options, f"{command.NAME} {flag}"
    assert {"minirpn.--version", "minirpn.--debug"} <= options


def library_subparsers():
    """Return the parser of each command, as argparse itself finds it."""
    [commands] = [action for action in build_parser()._actions if action.dest == "==SUPPRESS=="
                  and action.choices]  # fmt: skip
    return commands.choices


def test_every_setting_is_documented_with_its_meaning(site):
    from docs.extensions import settings

    config = TrainConfig()
    for key in flat(to_table(config)):
        section, _, name = key.partition(".")
        assert settings.meanings(type(getattr(config, section))).get(name), key
        text = (site.folder / "reference/settings.html").read_text()
        assert f'id="setting-{key.replace(".", "-").replace("_", "-")}"' in text, key
    assert len({flag.name for group in FLAGS.values() for flag in group}) > 20


def test_fields_of_named_tuples_are_explained(site):
    text = (site.folder / "reference/library/minirpn.rpn.targets.html").read_text()
    assert "the ground truth with the largest IoU; -1 if there is none" in text
    assert "Alias for field number" not in text


@pytest.mark.parametrize("unit", library.modules(minirpn))
def test_public_functions_describe_each_parameter(unit):
    """Parameters that are not self-evident are in the docstring, as NumPy's style asks."""
    pytest.importorskip("sphinx", reason="needs the extra 'docs'")
    for name in (name for names in library.pages(unit).values() for name in names):
        value = inspect.unwrap(library.value_of(name))
        if not inspect.isfunction(value):
            continue
        doc = inspect.getdoc(value)
        parameters = list(inspect.signature(value).parameters)
        if "Parameters\n" in doc:
            for parameter in parameters:
                assert parameter in doc, f"{name}: {parameter}"


def test_every_name_and_test_of_the_papers_map_is_one_click_away(site):
    text = (site.folder / "reference/paper.html").read_text()
    spans = re.findall(r"(<a [^>]*>)?<code[^>]*>(.*?)</code>", text)
    names = [(link, re.sub(r"<.*?>", "", span)) for link, span in spans]
    assert len(names) == 68
    assert [name for link, name in names if not link] == []
    for link, name in names:
        path, _, anchor = re.search(r'href="(.*?)"', link)[1].partition("#")
        page = (site.folder / "reference" / path).read_text()
        assert f'id="{anchor}"' in page, name
        assert "::" not in name or f"def {name.partition('::')[2]}" in re.sub(r"<.*?>", "", page)


def test_what_is_said_of_a_constant_is_not_taken_for_its_type(site):
    typed = re.compile(r'Type<span class="colon">:</span></dt>\s*<dd[^>]*>(.*?)</dd>', re.DOTALL)
    for page in (site.folder / "reference/library").glob("*.html"):
        for found in typed.findall(page.read_text()):
            words = re.sub(r"<.*?>", "", found).strip()
            assert re.fullmatch(r"[\w.]+(\[.*\])?( \| [\w.]+)*", words), f"{page.name}: {words}"
    text = re.sub(r"<.*?>", "", (site.folder / "reference/library/minirpn.boxes.html").read_text())
    assert "Largest log scale torchvision and detectron2 decode: a 16-pixel" in text
