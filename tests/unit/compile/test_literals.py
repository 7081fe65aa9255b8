# SPDX-License-Identifier: Apache-2.0
"""What the C finds in texts, against the regular expression in Python."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.compile import literals

PIECES = st.sampled_from(
    """10.0.0.1 0 00 7 0..7 1.2.3.4:80 255.255.255.256 18446744073709551615
    18446744073709551616 0x 0xff 0XfF 0x10000000000000000 0xg ::1 fe80::1 ::ffff:1.2.3.4 a:b
    ab: :: : 0a:00:00:00:00:01 0a:00:00:00:00:0 / // /24 /ffff:: /255.0.0.0 " \\ ^v $ @ $as @pg_1
    $a.b $.x ip4.src reg0[8] == && ( ) { , } . .. a_1 _ é 1.2.3.4. 1. 1.2. x1.2""".split()
    + [
        "/*",
        "*/",
        "/**/",
        "/* a */",
        "/* 1.2.3.4 */",
        '/* "x */',
        " ",
        "  ",
        "\n",
        "\t",
        '"vm1-2"',
        '"',
        '"a b"',
        '"a::1"',
        "ct_lb(backends=10.0.0.1:80);",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


def check(text: str) -> None:
    found, wanted = literals.shape_of(text), literals.take_apart(text)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert found[1] == [value for _, value in wanted.values]


@settings(max_examples=3000, deadline=None)
@given(TEXTS)
@example("a::1")
@example(":1")
@example('"open')
@example("1" * 9000)
@example("0/*x*/8")
@example('"/*" 7 /* 8 */ "*/" 9')
@example('"a /* b" */ "c')
@example("ip4.dst == 172.18.0.28 /* node18 */")
@example("1 " * 100)
def test_the_values(text: str) -> None:
    check(text)


@settings(max_examples=2000, deadline=None)
@given(TEXTS, TEXTS)
def test_shapes_are_the_same_if_parts_and_kinds_are(one: str, two: str) -> None:
    a, b = literals.shape_of(one), literals.shape_of(two)
    if a is not None and b is not None:
        whole = [literals.whole(text) for text in (one, two)]
        kinds = [tuple(kind for kind, _ in each.values) for each in whole]
        alike = whole[0].parts == whole[1].parts and kinds[0] == kinds[1]
        # What is too much for the C never shares a shape with what is not.
        assert (a[0] == b[0]) == (alike and type(a[0]) is type(b[0]))


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(["10.0.0.1", "fe80::1", '"vm"', "$as", "@pg", "12", "0x1f",
                                 "0a:00:00:00:00:01"]), min_size=1, max_size=9))  # fmt: skip
def test_instances_of_a_template(values: list[str]) -> None:
    text = " && ".join(f"f{n} == {value}" for n, value in enumerate(values))
    check(text)
    found = literals.whole(text)
    for n, value in enumerate(found.values):
        other = literals.another(value)
        assert other is not None
        varied = found.with_literal(n, other)
        check(varied)
        one, two = literals.shape_of(text), literals.shape_of(varied)
        assert one is not None and two is not None and one[0] == two[0] and one[1] != two[1]
