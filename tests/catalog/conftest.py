"""Tables of tests are written safely."""

from astropy.io.votable import tree

# The writer in C ends a row of 2^n letters one beyond its memory, and Python dies some time later:
# astropy's issue 20419.
tree._has_c_tabledata_writer = False
