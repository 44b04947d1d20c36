"""Partition tables: what is read, what is refused, and that both directions agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_partition import PartitionError, PartitionTableError, csv, table
from esp_partition.table import Partition
from tests.micropython_port import SHARED

IMAGES = SHARED / "images"


def app(offset, size=0x10000, subtype=table.SUBTYPE_OTA_0, label="app", flags=0):
    return Partition(table.TYPE_APP, subtype, offset, size, label, flags)


def data(offset, size=0x4000, subtype=table.SUBTYPE_NVS, label="data", flags=0):
    return Partition(table.TYPE_DATA, subtype, offset, size, label, flags)


def code_of(call, *arguments, **options):
    with pytest.raises(PartitionTableError) as caught:
        call(*arguments, **options)
    return caught.value.code


def verdict_of(call):
    """`ok`, or the text of the error that is allowed; another exception passes through."""
    try:
        call()
    except PartitionError as error:
        return str(error)
    return "ok"


@pytest.mark.parametrize(
    ("partitions", "code"),
    [
        ([app(0x11000)], "alignment"),
        ([app(0x10000, 0x10800)], "alignment"),
        ([data(0x9800)], "alignment"),
        ([data(0x8000)], "low-offset"),
        ([app(0x10000), app(0x20000)], "duplicate-label"),
        ([app(0x10000, 0x20000, label="a"), app(0x20000, label="b")], "overlap"),
        ([app(0x20000, label="b"), app(0x10000, 0x20000, label="a")], "overlap"),
        ([data(0x9000, 0x1000, table.SUBTYPE_OTADATA)], "otadata"),
        ([data(0x9000, 0x4000, table.SUBTYPE_OTADATA)], "otadata"),
        (
            [data(0x9000, 0x2000, 0, label="a"), data(0xB000, 0x2000, 0, label="b")],
            "otadata",
        ),
        ([data(0x9000, 0x2000, 0, flags=table.FLAG_READONLY)], "readonly"),
        ([data(0x9000, 0x2000)], "nvs-size"),
        ([data(0x9000, 0x100000000)], "range"),
        ([app(0x10000, label="seventeen_chars_a")], "label"),
    ],
)
def test_a_table_that_gen_esp32part_refuses_is_not_built(partitions, code):
    assert code_of(table.build, partitions) == code


def test_a_table_of_more_rows_than_fit_is_not_built():
    rows = [data(0x9000 + i * 0x4000, label=str(i)) for i in range(95)]
    assert len(table.build(rows[:94])) == table.TABLE_MAX_BYTES
    assert code_of(table.build, rows) == "too-long"


def test_small_nvs_may_be_read_only():
    assert table.build([data(0x9000, 0x1000, flags=table.FLAG_READONLY)])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "end-marker"),
        (b"\x00" * 64, "magic"),
        (b"\xff" * 31, "end-marker"),
    ],
)
def test_bytes_that_are_no_table_are_refused(raw, code):
    assert code_of(table.parse, raw) == code


def test_rows_after_the_md5_row_are_refused():
    built = table.build([data(0x9000)])
    planted = built[:64] + table.build([app(0x10000)])[:32] + built[64:]
    assert code_of(table.parse, planted) == "after-md5"


def test_a_label_that_is_no_text_is_refused():
    built = bytearray(table.build([data(0x9000)])[:32] + b"\xff" * 32)
    built[12] = 0xFF
    assert code_of(table.parse, built) == "label"


def test_the_real_table_needs_the_erased_flash_behind_it():
    path = IMAGES / "partitions_singleapp.bin"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    raw = path.read_bytes()
    assert code_of(table.parse, raw) == "end-marker"
    labels = [p.label for p in table.parse(raw + b"\xff" * 32)]
    assert labels == ["factory", "rfdata", "wifidata"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("x,app", "subtype"),
        ("x,,ota_0,,1M", "type"),
        ("x,app,ota_0,,", "size"),
        ("x,app,ota_16,,1M", "ota_16"),
        ("x,app,ota_0,,1M,hidden", "hidden"),
        ("x,app,ota_0,,1Q", "1q"),
        ("x,app,ota_0,,$SIZE", "environment"),
        ("x,bootloader,primary,,", "bootloader_offset"),
    ],
)
def test_a_wrong_csv_line_is_named(line, text):
    with pytest.raises(PartitionTableError, match="(?i)line 2: .*" + text) as caught:
        csv.parse_csv("# comment\n" + line)
    assert caught.value.code == "csv"


def test_an_offset_before_the_end_of_the_last_partition_is_refused():
    assert code_of(csv.parse_csv, "a,data,nvs,0x9000,16K\nb,data,fat,0xa000,4K") == "overlap"


def test_bootloader_and_table_rows_take_their_places():
    text = "boot,bootloader,primary,,\ntable,partition_table,primary,,\nnvs,data,nvs,,16K"
    rows = csv.parse_csv(text, bootloader_offset=0x1000)
    assert [(p.label, p.offset, p.size) for p in rows] == [
        ("boot", 0x1000, 0x7000),
        ("table", 0x8000, 0x1000),
        ("nvs", 0x9000, 0x4000),
    ]


labels = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=16)


@given(st.lists(st.tuples(labels, st.integers(1, 64)), max_size=20, unique_by=lambda row: row[0]))
def test_every_table_built_is_read_back(rows):
    partitions, offset = [], 0x9000
    for label, sectors in rows:
        size = sectors * table.SECTOR_BYTES
        partitions.append(data(offset, size, 0x81, label))
        offset += size
    assert table.parse(table.build(partitions)) == partitions


@given(st.binary(max_size=256) | st.lists(
    st.sampled_from([b"\xaa\x50\x00\x10", b"\xeb\xeb", b"\xff" * 32, b"\x00" * 12]), max_size=24
).map(b"".join))  # fmt: skip
def test_any_bytes_are_read_or_refused(raw):
    assert "\n" not in verdict_of(lambda: table.parse(raw))


@given(st.text(st.sampled_from("app,data0x19Kk:-$#\n ota_nvs"), max_size=80))
def test_any_csv_is_read_or_refused(text):
    assert "\n" not in verdict_of(lambda: table.build(csv.parse_csv(text)))


def test_a_label_with_control_characters_stays_on_one_line_of_the_message():
    with pytest.raises(PartitionTableError, match=r"'a\\nb': offset") as caught:
        table.build([app(0x11000, label="a\nb")])
    assert "\n" not in str(caught.value)
