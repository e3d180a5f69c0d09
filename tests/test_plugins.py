"""A plug-in file brings what it defines under its name, and whatever is wrong with it is said in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfsup import plugins, registry
from selfsup.errors import UserError
from selfsup.methods import method_class
from selfsup.views import load_policy

METHOD = """
'''Does nothing much.'''
from selfsup.methods import Method

class Still(Method):
    '''Does nothing.'''
    version = {version}
"""
STILL = METHOD.format(version=1)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Modules of plug-ins are read anew by the next test; what they brought is unplugged before every test."""
    yield
    for name in [name for name in sys.modules if name.startswith(plugins.PACKAGE)]:
        del sys.modules[name]


def write(path: Path, text: str = METHOD, **values: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text.format(**{"version": 1, **values}) if text is METHOD else text)
    return path


def test_its_name_is_that_of_what_it_brings(tmp_path: Path) -> None:
    (reference,) = plugins.plug_in_files([write(tmp_path / "still_method.py")])
    assert plugins.name_of(reference) == "still-method"
    assert "still-method" in registry.names(registry.METHOD)
    assert "still-method" not in registry.names(registry.POLICY)
    assert method_class("still-method").__name__ == "Still"
    assert registry.first_line(registry.METHOD, "still-method") == "Does nothing much."


def test_it_may_bring_one_of_each_kind(tmp_path: Path) -> None:
    text = METHOD.format(version=1) + "\nfrom selfsup.views import load_policy\npolicy = load_policy('weak')\n"
    plugins.plug_in_files([write(tmp_path / "both.py", text)])
    assert method_class("both").__name__ == "Still"
    assert load_policy("both") is load_policy("weak")


def test_a_base_class_with_an_underscore_is_not_taken_for_a_second_method(tmp_path: Path) -> None:
    text = METHOD.format(version=1).replace("Still", "_Base") + "\nclass Derived(_Base):\n    pass\n"
    plugins.plug_in_files([write(tmp_path / "derived.py", text)])
    assert method_class("derived").__name__ == "Derived"


def test_two_methods_in_one_file_are_refused(tmp_path: Path) -> None:
    text = METHOD.format(version=1) + "\nclass Other(Still):\n    pass\n"
    with pytest.raises(UserError, match=r"the plug-in 'two.py' defines 2 of what can be method 'two'"):
        plugins.plug_in_files([write(tmp_path / "two.py", text)])


@pytest.mark.parametrize(
    "content", [b'\xef\xbb\xbf"Stra\xc3\x9fe."', b'# -*- coding: latin-1 -*-\n"Stra\xdfe."'], ids=["bom", "latin-1"]
)
def test_what_it_says_of_itself_is_read_in_its_own_encoding(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "still.py"
    file.write_bytes(content + STILL.encode())
    plugins.plug_in_files([file])
    assert registry.first_line(registry.METHOD, "still") == "Straße."


def test_it_is_run_once_and_anew_when_it_has_changed(tmp_path: Path) -> None:
    file = write(tmp_path / "still.py")
    first = plugins.plug_in_files([file])
    found = method_class("still")
    assert plugins.plug_in_files([file]) == first
    assert method_class("still") is found
    write(file, version=2)
    assert plugins.plug_in_files([file]) != first
    assert method_class("still").version == 2  # type: ignore[attr-defined]


def test_it_leaves_no_bytecode_beside_it(tmp_path: Path) -> None:
    plugins.plug_in_files([write(tmp_path / "still.py")])
    assert [path.name for path in tmp_path.iterdir()] == ["still.py"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("missing.py", None, r"--plugin .*missing.py cannot be read \(No such file"),
        ("folder.py/inner", "", r"--plugin .*folder.py cannot be read \(Is a directory\); check the path\."),
        ("notes.txt", "", "has no name for a plug-in"),
        ("My Method.py", "", "has no name for a plug-in"),
        ("_hidden.py", "", "has no name for a plug-in"),
        ("all.py", METHOD, "has no name for a plug-in.*neither all nor auto"),
        ("auto.py", METHOD, "has no name for a plug-in.*neither all nor auto"),
        ("five.py", "policy = 5\n", r"'five.py' brings no augmentation 'five': 5 has no 'channels'; mend it"),
        ("five.py", "evaluator = 5\n", r"'five.py' brings no evaluator 'five': 5 has no 'evaluate'; mend it"),
        ("five.py", "executor = 5\n", r"'five.py' brings no executor 'five': 5 has no 'Options'; mend it"),
        ("five.py", "open_source = 5\n", r"'five.py' brings no data set 'five': 5 has no '__call__'; mend it"),
        ("five.py", STILL + "    tags = 5\n", r"TypeError: 'tags' of Still must be Tags\(\.\.\.\), line 5"),
        ("five.py", STILL + "    recipe = None\n", r"TypeError: 'recipe' of Still must be Recipe\(\.\.\.\), line 5"),
        ("five.py", STILL + "    Settings = 5\n", r"'Settings' of Still must be a subclass of MethodSettings, line 5"),
        ("half.py", "def f(:\n", r"half.py cannot be imported \(SyntaxError: invalid syntax, line 1\)"),
        ("nul.py", "a = '\0'\n", r"nul.py cannot be imported \((SyntaxError|ValueError): "),
        ("raises.py", "x = 1\ny = x / 0\n", r"cannot be imported \(ZeroDivisionError: division by zero, line 2\)"),
        ("leaves.py", "import sys\nsys.exit(3)\n", r"cannot be imported \(SystemExit: 3, line 2\)"),
        ("asks.py", "import no_such_package\n", r"ModuleNotFoundError: No module named 'no_such_package', line 1"),
        ("nothing.py", "x = 1\n", r"nothing.py defines nothing that is known here: a subclass of Method, policy, "),
        ("simclr.py", METHOD, "The method 'simclr' is brought by selfsup and the plug-in 'simclr.py'; rename one"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    file = tmp_path / name
    if text is not None:
        write(file, text)
    with pytest.raises(UserError, match=said) as refusal:
        plugins.plug_in_files([file if file.suffix else file.parent])
    assert "\n" not in str(refusal.value)


def test_two_files_of_one_name_are_refused_and_one_file_named_twice_is_one(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a" / "my_own.py"), write(tmp_path / "b" / "my-own.py")
    with pytest.raises(UserError, match=r"a/my_own.py and --plugin .*b/my-own.py have one name"):
        plugins.plug_in_files([one, other])
    assert len(plugins.plug_in_files([one, one])) == 1


def test_a_study_loads_its_copy_and_refuses_one_that_has_changed(tmp_path: Path) -> None:
    references = plugins.plug_in_files([write(tmp_path / "still.py")])
    kept = tmp_path / "study" / plugins.FOLDER / "still.py"
    write(kept)
    assert kept.read_bytes() == plugins.content_of(references[0])
    registry.unplug()
    plugins.plug_in_kept(tmp_path / "study", references)
    assert "still" in registry.names(registry.METHOD)
    write(kept, version=2)
    with pytest.raises(UserError, match=r"plugins/still.py' is not what it was when the study was begun"):
        plugins.plug_in_kept(tmp_path / "study", references)
    kept.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        plugins.plug_in_kept(tmp_path / "study", references)


def test_what_has_changed_is_told_from_what_is_new() -> None:
    assert plugins.changed(["a.py@1", "b.py@2"], ["b.py@2", "c.py@3"]) == []
    assert plugins.changed(["a.py@1", "b.py@2"], ["a.py@3", "b.py@2"]) == ["a.py"]
