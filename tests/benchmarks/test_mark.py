from doorstep.benchmarks.mark import MARK_TEMPLATE, find_marks


def test_what_is_written_is_found_wherever_it_is() -> None:
    marks = [(0, 1, 2), (12, 345, 6_789_012_345_678)]
    message = b'{"a":1,' + b',"b":'.join(MARK_TEMPLATE % mark for mark in marks) + b"}"

    assert [tuple(map(int, found)) for found in find_marks(message)] == marks


def test_other_text_has_no_marks() -> None:
    assert find_marks(b'{"mark":"1-2","marks":"1-2-3","x":"mark"}') == []
