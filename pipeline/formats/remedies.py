"""Remedies that several errors about a raw file name."""

REPAIR = "the publisher has to repair it; until then, fix.lines in the preprocess script can"
MIXED = f"{REPAIR}, with line_ends=True"
DECLARE_ENCODING = "declare the publisher's encoding in the source's preprocess script"
DECLARE_HEADER = "declare header=[…], the names of its columns, in the source's preprocess script"
