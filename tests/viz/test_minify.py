"""Scripts made short mean what they meant: tokens, properties, blocks and objects, lines."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import tinygrad_rnn.viz  # noqa: F401
from tinygrad_rnn.viz import minify
from tinygrad_rnn.viz.debugger import RULES, script


def test_strings_templates_and_expressions_in_slashes_stay_as_they_are() -> None:
    code = r"""
        const first = "// no comment", second = '/* none */', pattern = /[/"']\/{2}(?:a b)/g;
        const third = `a  ${first + `in  ${second}  ner`}  // z {`;
        const ratio = first / second / third;
    """
    short = minify.short_script(code)
    for kept in (
        '"// no comment"',
        "'/* none */'",
        r"/[/\"']\/{2}(?:a b)/g".replace('\\"', '"'),
        "`a  ${",
        "`in  ${",
        "}  ner`",
        "}  // z {`",
    ):
        assert kept in short
    assert "first" not in short and re.search(r"=\w/\w/\w;", short)


def test_properties_keep_their_names_and_variables_lose_theirs() -> None:
    short = minify.short_script(
        "const value = {value, other: value, value(value) { return this.value + value; }}; value.value?.value;"
    )
    name = short[6]
    assert (
        short
        == f"const {name}={{value:{name},other:{name},value({name}){{return this.value+{name};}}}};{name}.value?.value;"
    )


def test_what_a_default_calls_is_not_declared_there() -> None:
    short = minify.short_script("function f(list, size = g(list.filter(Boolean).map(a => a)), {b = h(Other)} = {}) {}")
    assert "Boolean" in short and "Other" in short and "list" not in short and "size" not in short


def test_patterns_and_classes() -> None:
    code = """
        class Thing extends Other {
          constructor(size, {width = 2, height: tall} = {}) { this.size = size; this.area = width * tall; }
          get size2() { return this.size; }
          static make(size) { return new Thing(size); }
        }
        const {alpha, beta: {gamma = 1}, ...rest} = Thing.make(3), [delta, , epsilon] = rest;
        for (const [key, item] of Object.entries(alpha)) if (key) gamma[item] ??= delta ? key : epsilon;
    """
    short = minify.short_script(code)
    for kept in (
        "get size2()",
        "static make(",
        "this.size=",
        "alpha:",
        "beta:{gamma:",
        "width:",
        "height:",
        "Object.entries(",
        "extends Other",
    ):
        assert kept in short, kept
    for gone in ("rest", "delta", "epsilon", "tall"):
        assert not re.search(rf"\b{gone}\b", short), gone


def test_a_condition_declares_nothing() -> None:
    assert "Array.isArray" in minify.short_script(
        "if (Array.isArray(x)) { y(); } for (const a of Array.from(b)) { z(); }"
    )


def test_values_by_default_and_blocks_of_catch_declare_nothing() -> None:
    code = (
        "const f = (a, {b = g(One)} = h(Two), c = d.filter(Three).map(e => e)) => { try { a(); } catch { k(Four); } };"
    )
    for name in ("One", "Two", "Three", "Four"):
        assert name in minify.short_script(code)


def test_every_name_of_a_declaration_is_found() -> None:
    code = (
        "const first = f(x) ?? {a: [1], b}, second = g`${x}, y`, third = [], [fourth] = z; let fifth = p => q, sixth;"
    )
    short = minify.short_script(code)
    assert not re.search("first|second|third|fourth|fifth|sixth", short)
    assert "f(x)??{a:[1],b}" in short


def test_signs_and_words_that_would_run_together_are_kept_apart() -> None:
    assert minify.short_script("a = b + +c - -d; e = 1 .f; return typeof g;") == "a=b+ +c- -d;e=1 .f;return typeof g;"


def test_new_names_are_no_old_ones() -> None:
    short = minify.short_script("const long = a, other = b; c(long, other);")
    first, second = re.findall(r"(\w+)=", short)
    assert len({first, second, "a", "b", "c"}) == 5


def test_what_is_not_declared_in_the_page_is_the_browsers() -> None:
    known = """
        Array ArrayBuffer BigInt BigInt64Array BigUint64Array Boolean CSS DataView Error
        Float32Array Float64Array Infinity Int16Array Int32Array Int8Array JSON Map Math NaN Number
        Object RegExp ResizeObserver Set String TextDecoder Uint16Array Uint32Array Uint8Array
        WeakMap addEventListener cancelAnimationFrame clearTimeout document getSelection history
        innerHeight innerWidth isFinite localStorage location matchMedia parseFloat performance
        requestAnimationFrame requestIdleCallback setTimeout window
    """
    found = list(minify.tokens(script(RULES)))
    roles = minify._roles(found)
    names = minify._new_names(found, roles)
    assert not set(names).intersection(known.split())
    left = {t.text for t, role in zip(found, roles, strict=True) if role in ("variable", "shorthand")} - set(names)
    mounted = {"mountQuiz", "mountReplay", "mountSliders"}  # asked for with typeof
    assert left - minify.BROWSER - mounted <= set(known.split()), left - minify.BROWSER - mounted - set(known.split())


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_short_script_is_a_script() -> None:
    short = minify.short_script(script(RULES))
    done = subprocess.run(["node", "--check", "-"], input=short, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(short) < 0.7 * len(script(RULES))
