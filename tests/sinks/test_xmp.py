"""Keywords in XMP, read back by Exiv2 and ExifTool, which nobody here wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import canonicalize

import pytest
from support.sink_rows import row

from clip_worker.sinks.sidecars import SidecarSink
from clip_worker.sinks.xmp import EMPTY, with_keywords
from clip_worker.sinks.xmp_sidecar import XmpSidecar

# As Lightroom writes it: attributes, other namespaces, a keyword and processing instructions.
FOREIGN = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmp:Rating="4" crs:Note="two&#xA;lines">
   <dc:creator><rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq></dc:creator>
   <dc:subject><rdf:Bag><rdf:li>holiday</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

LI = "<rdf:li>cat</rdf:li>"
SHOWN = '</rdf:li><x/> & "q" \' ]]> \ufffd\ufffd\ufffd \N{CAT FACE} 2'
HOSTILE = '</rdf:li><x/> & "q" \' ]]> \0\x1b\ud800 \N{CAT FACE}\n  2'


def document(description: str) -> bytes:
    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{description}</rdf:RDF>'
    ).encode()


def keywords(data: bytes) -> list[str]:
    from lxml import etree  # only here

    names = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "dc": "http://purl.org/dc/elements/1.1/",
    }
    found = etree.fromstring(data).xpath("//dc:subject/*/rdf:li/text()", namespaces=names)
    assert isinstance(found, list)
    return [str(each) for each in found]


def added(data: bytes, *new: str) -> bytes:
    changed = with_keywords(data, new)
    assert changed is not None
    return changed


def test_keywords_are_added_once_each() -> None:
    first = added(EMPTY, "cat", "a  cat", "cat")
    assert keywords(first) == ["cat", "a cat"]
    assert keywords(added(first, "cat", "dog")) == ["cat", "a cat", "dog"]
    assert with_keywords(first, ["cat"]) is None


def test_what_other_programs_wrote_stays() -> None:
    text = added(FOREIGN.encode(), "cat").decode()
    expected = FOREIGN.replace("</rdf:Bag></dc:subject>", f"{LI}</rdf:Bag></dc:subject>")
    assert canonicalize(text) == canonicalize(expected)
    assert text.startswith(FOREIGN.partition("\n")[0])
    assert text.rstrip().endswith('<?xpacket end="w"?>')


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("", ["cat"]),
        ('<rdf:Description rdf:about=""/>', ["cat"]),
        ('<rdf:Description dc:subject="one"/>', ["one", "cat"]),
        ("<rdf:Description><dc:subject>one</dc:subject></rdf:Description>", ["one", "cat"]),
        ("<rdf:Description><dc:subject/></rdf:Description>", ["cat"]),
        (
            "<rdf:Description/><rdf:Description><dc:subject><rdf:Seq>"  # noqa: ISC004  # one text
            "<rdf:li>one</rdf:li></rdf:Seq></dc:subject></rdf:Description>",
            ["one", "cat"],
        ),
    ],
)  # fmt: skip
def test_other_forms_of_keywords_are_understood(description: str, expected: list[str]) -> None:
    assert keywords(added(document(description), "cat")) == expected


@pytest.mark.parametrize("other", ["<!-- mine -->", "<?mine?>"])
def test_a_comment_before_the_keywords_does_not_swallow_them(other: str) -> None:
    before = added(EMPTY, "cat").replace(b"<dc:subject>", f"<dc:subject>{other}".encode())
    after = added(before, "dog")
    assert keywords(after) == ["cat", "dog"]
    assert other.encode() in after


def test_a_hostile_label_is_text() -> None:
    expected = '</rdf:li><x/> & "q" \' ]]> \ufffd\ufffd\ufffd \N{CAT FACE} 2'
    assert keywords(added(EMPTY, HOSTILE)) == [expected]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"mine", "is not XML"),
        (b"", "is not XML"),
        (b"<svg/>", "is not XMP"),
        (
            b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + document("&e;"),
            "has a document type",
        ),
    ],
)
def test_what_is_no_xmp_is_left_alone(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "photo-000001.xmp"
    file.write_bytes(content)
    sink = SidecarSink(XmpSidecar())
    [refused] = sink.write([row(1, folder=tmp_path)])
    sink.commit()
    assert refused.outcome.error is not None
    assert reason in refused.outcome.error.message
    assert file.read_bytes() == content


def test_only_likely_labels_become_keywords_and_others_make_no_file(tmp_path: Path) -> None:
    sink = SidecarSink(XmpSidecar(0.6))
    sink.write([row(1, folder=tmp_path), row(2, folder=tmp_path, probability=0.55)])
    sink.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["photo-000001.xmp"]
    assert keywords((tmp_path / "photo-000001.xmp").read_bytes()) == ["cat"]


def test_two_images_of_one_name_share_a_sidecar(tmp_path: Path) -> None:
    given = row(1, folder=tmp_path)
    raw = type(given.item)(key="raw", image="raw", path=tmp_path / "photo-000001.CR2")
    sink = SidecarSink(XmpSidecar())
    sink.write([given, type(given)(raw, row(1, label="fish").outcome)])
    sink.commit()
    assert keywords((tmp_path / "photo-000001.xmp").read_bytes()) == ["cat", "fish"]


def read_by_exiv2(path: Path) -> dict[str, Any]:
    pyexiv2 = pytest.importorskip("pyexiv2")
    image = pyexiv2.Image(str(path))
    try:
        return dict(image.read_xmp())
    finally:
        image.close()


def test_exiv2_reads_our_keywords_and_those_that_were_there(tmp_path: Path) -> None:
    file = tmp_path / "photo-000001.xmp"
    file.write_bytes(added(added(FOREIGN.encode(), "cat"), HOSTILE))

    found = read_by_exiv2(file)

    assert found["Xmp.dc.subject"] == ["holiday", "cat", SHOWN]
    assert (found["Xmp.xmp.Rating"], found["Xmp.dc.creator"]) == ("4", ["Ada"])
    assert found["Xmp.crs.Note"] == "two\nlines"


def test_exiv2_reads_a_new_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "new.xmp"
    file.write_bytes(added(EMPTY, "cat", "Katze auf grünem Gras"))
    assert read_by_exiv2(file) == {"Xmp.dc.subject": ["cat", "Katze auf grünem Gras"]}


def read_by_exiftool(path: Path) -> dict[str, Any]:
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("no exiftool: install Debian's libimage-exiftool-perl")
    command: list[str | Path] = [program, "-json", "-validate", "-warning", "-a", "-XMP:all", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (found,) = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_exiftool_reads_our_keywords_and_those_that_were_there(tmp_path: Path) -> None:
    file = tmp_path / "photo-000001.xmp"
    file.write_bytes(added(added(FOREIGN.encode(), "cat"), HOSTILE))

    found = read_by_exiftool(file)

    assert found["Validate"] == "OK"
    assert found["Subject"][:2] == ["holiday", "cat"]
    assert found["Subject"][2].startswith('</rdf:li><x/> & "q" \' ]]> ')
    assert (found["Rating"], found["Creator"]) == (4, "Ada")


def test_exiftool_reads_a_new_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "new.xmp"
    file.write_bytes(added(EMPTY, "cat", "Katze auf grünem Gras"))
    found = read_by_exiftool(file)
    assert (found["Validate"], found["Subject"]) == ("OK", ["cat", "Katze auf grünem Gras"])


def test_keywords_are_added_to_a_sidecar_that_exiftool_made(tmp_path: Path) -> None:
    program = shutil.which("exiftool")
    if program is None:
        pytest.skip("no exiftool: install Debian's libimage-exiftool-perl")
    file = tmp_path / "made.xmp"
    command: list[str | Path] = [
        program,
        "-XMP-dc:Subject=holiday",
        "-XMP-xmp:Rating=3",
        "-XMP-dc:Title=A",
        file,
    ]
    subprocess.run(command, capture_output=True, check=True)
    file.write_bytes(added(file.read_bytes(), "cat"))
    found = read_by_exiftool(file)
    assert (found["Validate"], found["Subject"]) == ("OK", ["holiday", "cat"])
    assert (found["Rating"], found["Title"]) == (3, "A")
