#!/usr/bin/python3
"""usage: embed.py FILE NAME OUTPUT: writes a C header with FILE's bytes as the string constant NAME."""
import sys

source, name, output = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read()
with open(output, "w", encoding="ascii") as f:
    f.write(f"static const unsigned char {name}[] = {{\n")
    for i in range(0, len(data), 20):
        f.write(",".join(str(b) for b in data[i:i + 20]) + ",\n")
    f.write("0};\n")
