#!/usr/bin/env python3
"""Writes the migrations as C: embed.py OUTPUT FILE.sql..."""
import os
import sys

output, files = sys.argv[1], sorted(sys.argv[2:])
with open(output, "w") as out:
    out.write('#include "daemon/store_int.h"\n\n')
    out.write("const struct store_migration store_migrations[] = {\n")
    for name in files:
        out.write('    {"%s",\n' % os.path.basename(name))
        for line in open(name):
            line = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"')
            out.write('     "%s\\n"\n' % line)
        out.write("    },\n")
    out.write("};\nconst size_t store_n_migrations = %d;\n" % len(files))
