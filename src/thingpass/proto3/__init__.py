"""proto3 schemas as text -> message types, with faults that name their line. A library of its own.

`reading` makes declarations of the text and needs nothing but Python; `types` makes message types of the
declarations, with Google's protobuf library, which is loaded only there.
"""
