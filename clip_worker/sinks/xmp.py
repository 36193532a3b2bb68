"""Adds keywords to a document of XMP (ISO 16684-1), and keeps all else that is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element, _ElementTree

X = "adobe:ns:meta/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"

EMPTY = (
    f'<x:xmpmeta xmlns:x="{X}"><rdf:RDF xmlns:rdf="{RDF}">'
    f'<rdf:Description rdf:about="" xmlns:dc="{DC}"/></rdf:RDF></x:xmpmeta>'
).encode()

_SUBJECT, _DESCRIPTION, _BAG = f"{{{DC}}}subject", f"{{{RDF}}}Description", f"{{{RDF}}}Bag"
_LI = f"{{{RDF}}}li"
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def with_keywords(document: bytes, keywords: Sequence[str]) -> bytes | None:
    """A document with more keywords (`dc:subject`); None if it has all of them.

    Args:
        document: A sidecar of any program.
        keywords: Each is added once. Blanks are collapsed, and characters that XML can't contain
            are replaced.

    Raises:
        ValueError: It is no XMP; why, to follow a colon.
    """
    from lxml import etree

    tree = _parsed(document)
    bag = _bag(_description(tree))
    present = {_plain(each.text or "") for each in bag.iter(_LI)}
    new = [each for each in dict.fromkeys(map(_plain, keywords)) if each and each not in present]
    for keyword in new:
        etree.SubElement(bag, _LI).text = keyword
    return etree.tostring(tree, encoding="utf-8") + b"\n" if new else None


def _parsed(document: bytes) -> _ElementTree:
    from lxml import etree

    # No entity is replaced and nothing is loaded: the file may be anybody's.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        tree = etree.fromstring(document, parser).getroottree()
    except etree.XMLSyntaxError as error:
        raise ValueError("it exists and is not XML") from error
    if tree.docinfo.doctype:
        raise ValueError("it exists and has a document type, which XMP does not")
    return tree


def _description(tree: _ElementTree) -> _Element:
    """The node that has the keywords, or is to have them."""
    from lxml import etree

    root = tree.getroot()
    rdf = root if root.tag == f"{{{RDF}}}RDF" else root.find(f"{{{RDF}}}RDF")
    if rdf is None:
        raise ValueError("it exists and is not XMP")
    found = rdf.findall(_DESCRIPTION)
    for each in found:
        if each.find(_SUBJECT) is not None or _SUBJECT in each.attrib:
            return each
    if found:
        return found[0]
    return etree.SubElement(rdf, _DESCRIPTION, {f"{{{RDF}}}about": ""})


def _bag(description: _Element) -> _Element:
    """The list of keywords, which some programs write in other forms than `rdf:Bag`."""
    from lxml import etree

    subject = description.find(_SUBJECT)
    if subject is None:
        subject = etree.SubElement(description, _SUBJECT, nsmap={"dc": DC})
        subject.text = description.attrib.pop(_SUBJECT, None)
    if (found := subject.find("*")) is not None:  # no comment, in which keywords would be lost
        return found
    bag = etree.SubElement(subject, _BAG)
    if single := (subject.text or "").strip():
        etree.SubElement(bag, _LI).text = single
    subject.text = None
    return bag


def _plain(keyword: str) -> str:
    return _NOT_XML.sub("\ufffd", " ".join(keyword.split()))
