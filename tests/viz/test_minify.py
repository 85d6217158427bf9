"""Scripts made short mean what they meant: tokens, properties, blocks and objects, scopes."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import tinygrad_rnn.viz  # noqa: F401
from tinygrad_rnn.viz import minify
from tinygrad_rnn.viz.debugger import RULES, script
from tinygrad_rnn.viz.javascript import Script


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
    assert short == "let A={value:A,other:A,value(A){return this.value+A}};A.value?.value;"


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


def test_new_names_are_not_those_of_the_browser() -> None:
    short = minify.short_script("const long = A, other = e; B(long, other);")
    first, second = re.findall(r"(\w+)=", short)
    assert len({first, second, "A", "e", "B"}) == 5


def test_semicolons_go_where_a_brace_says_as_much() -> None:
    assert minify.short_script("{ f(); }") == "{f()}"
    assert minify.short_script("{ for (;;); }") == "{for(;;);}" and minify.short_script("{ if (f()); }") == "{if(f());}"


@pytest.mark.parametrize(
    ("code", "short"),
    [
        ("(one, two) => (three, one) => one + two + three;", "(A,B)=>(A,C)=>C+B+A;"),
        ("(one, two) => (three, one) => two;", "(A,B)=>(A,C)=>B;"),
        ("one => { const two = one; { const one = 2; two(one); } one(); }", "A=>{let B=A;{let A=2;B(A)}A()}"),
        ("one => { for (const one of [two]) f(one); one(); }", "A=>{for(let A of[two])f(A);A()}"),
        (
            "one => { for (const two of one) if (two) f(); else g(two); two(); }",
            "A=>{for(let B of A)if(B)f();else g(B);two()}",
        ),
        ("try { e(); } catch (error) { f(error); } error();", "try{e()}catch(A){f(A)}error();"),
        ("a ? one => one ? 1 : 2 : one;", "a?A=>A?1:2:one;"),
        ("f(`${[1].map(one => one)} ${one}`);", "f(`${[1].map(A=>A)} ${one}`);"),
        ("function one(two) { return two ? one(two) : {two}; } two;", "function A(B){return B?A(B):{two:B}}two;"),
        (
            "class One { constructor(two) { this.two = two; } } new One(two);",
            "class A{constructor(A){this.two=A}}new A(two);",
        ),
        ("const {one} = of.two, three = 'a' in one, four = 1; three(four);", "let{one:A}=of.two,B='a'in A,C=1;B(C);"),
        ("const {one: [two], three = 1} = four; two(three);", "let{one:[A],three:B=1}=four;A(B);"),
    ],
)
def test_a_variable_has_a_name_of_its_own_in_its_scope(code: str, short: str) -> None:
    assert minify.short_script(code) == short


def test_every_name_of_the_page_means_what_it_meant() -> None:
    """Token by token: what was one variable is one, what were two are two, and properties are the same."""
    long = Script(script(RULES))
    short = Script(minify.short_script(script(RULES)))
    names: dict[tuple[int, str], tuple[int, str]] = {}
    known = [_kept(each) for each in (long, short)]
    assert len(known[0]) == len(known[1])
    for before, after in zip(*known, strict=True):
        if isinstance(before, str) or isinstance(after, str):
            assert before == after
        else:
            assert names.setdefault(before, after) == after
    assert len(set(names.values())) == len(names) > 3000
    assert len({name for _, name in names.values()}) < 100 < len({name for _, name in names})


def _kept(script: Script) -> list[str | tuple[int, str]]:
    """The words: of a variable its scope and its name, else the text."""
    number = {scope: k for k, scope in enumerate(script.scopes)}
    found: list[str | tuple[int, str]] = []
    for token, role, scope in zip(script.tokens, script.roles, script.scope, strict=True):
        if token.kind != "word":
            continue
        home = scope.of(token.text) if role in ("variable", "shorthand") else None
        found += [token.text] if role == "shorthand" else []  # the property, and then the variable
        found.append("let" if token.text == "const" else token.text if home is None else (number[home], token.text))
    return found


def test_what_is_not_declared_in_the_page_is_the_browsers() -> None:
    known = """
        Array ArrayBuffer BigInt BigInt64Array BigUint64Array Boolean CSS DataView Error
        Float32Array Float64Array Infinity Int16Array Int32Array Int8Array JSON Map Math NaN Number
        Object RegExp ResizeObserver Set String TextDecoder Uint16Array Uint32Array Uint8Array
        WeakMap addEventListener cancelAnimationFrame clearTimeout document getSelection history
        innerHeight innerWidth isFinite localStorage location matchMedia parseFloat performance
        requestAnimationFrame requestIdleCallback setTimeout window
    """
    page = Script(script(RULES))
    left = {
        token.text
        for token, role, scope in zip(page.tokens, page.roles, page.scope, strict=True)
        if role in ("variable", "shorthand") and scope.of(token.text) is None
    }
    mounted = {"mountQuiz", "mountReplay", "mountSliders"}  # asked for with typeof
    assert left - mounted <= set(known.split()), left - mounted - set(known.split())


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_short_script_is_a_script() -> None:
    short = minify.short_script(script(RULES))
    done = subprocess.run(["node", "--check", "-"], input=short, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(short) < 0.7 * len(script(RULES))
