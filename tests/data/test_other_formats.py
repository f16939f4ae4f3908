"""The command that converts the data of another tool: with the folders, names and endings there.

That it does what it should, `tests/peers/test_globox.py` shows.
"""

from __future__ import annotations

import pytest

from minirpn.data.other_formats import how_to_convert

COCO = '{"info": {}, "images": [{"file_name": "a.jpg"}], "annotations": []}'
YOLO = "0 0.5 0.5 0.25 0.5\n"
NAMES = "cat\ndog\n"


def told(root, files):
    """Write files, and return the command and the flags that the root is answered with."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    answer = how_to_convert(root)
    if answer is None:
        return None
    _, command, _, _, flags = answer.replace(f"{root}", "D").split("`")
    return command, flags.partition("minirpn ")[2]


@pytest.mark.parametrize(
    ("files", "command", "flags"),
    [
        (
            {"result.json": COCO, "images/a.jpg": ""},
            "globox convert D/result.json D/annotations -f coco -F pascalvoc",
            "--voc D --box-format half-open",
        ),
        (
            {
                f"{split}/{name}": COCO
                for split in ("train", "valid")
                for name in ("x.json", "a.jpg")
            },
            "globox convert D/train/x.json D/train -f coco -F pascalvoc && "
            "globox convert D/valid/x.json D/valid -f coco -F pascalvoc",
            "--voc D --box-format half-open",
        ),
        (
            {"annotations/instances_val2017.json": COCO, "val2017/a.jpg": ""}
            | {"annotations/captions_val2017.json": COCO},
            "globox convert D/annotations/instances_val2017.json D/val2017 -f coco -F pascalvoc",
            "--voc D --images D --annotations D --box-format half-open",
        ),
        (
            {"labels/a.txt": YOLO, "images/a.png": "", "classes.txt": NAMES},
            "globox convert D/labels D/labels -f yolov5 -d D/images -g .png "
            "--mapping D/classes.txt -F pascalvoc",
            "--voc D --box-format half-open",
        ),
        (
            {"labels/train/a.txt": YOLO, "images/train/a.jpg": ""},
            "globox convert D/labels/train D/labels/train -f yolov5 -d D/images/train -F pascalvoc",
            "--voc D --box-format half-open",
        ),
        (
            {"obj data/a.txt": YOLO, "obj data/a.jpg": "", "obj data/classes.txt": NAMES},
            "mv 'D/obj data/classes.txt' 'D/obj data/classes.names' && "
            "globox convert 'D/obj data' 'D/obj data' -f yolov5 -d 'D/obj data' "
            "--mapping 'D/obj data/classes.names' -F pascalvoc",
            "--voc 'D/obj data' --box-format half-open",
        ),
    ],
)
def test_the_command_and_the_flags(tmp_path, files, command, flags):
    assert told(tmp_path, files) == (command, flags)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"package.json": '{"name": "images"}', "images/a.jpg": ""},
        {"a.json": '{"shapes": [], "imagePath": "a.jpg"}', "a.jpg": ""},
        {"train.txt": "a\nb\n", "notes.txt": "1 2 3 4 five\n", "numbers.txt": "1 2 3\n"},
        {"._x.json": COCO, ".cache/labels.txt": YOLO},
    ],
)
def test_what_is_of_no_known_format(tmp_path, files):
    assert told(tmp_path, files) is None
