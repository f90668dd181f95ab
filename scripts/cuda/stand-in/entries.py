"""Entry points of CUDA C: the kernels of a preprocessed source, their parameters, and PTX that declares them."""

import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ENTRY = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)')
# Bytes of the types that kernels take by value.
SIZES = {
    "bool": 1, "uint8_t": 1, "unsigned char": 1, "int16_t": 2, "__half": 2, "__nv_bfloat16": 2, "__nv_fp8_e4m3": 1,
    "int": 4, "unsigned": 4, "unsigned int": 4, "uint32": 4, "int32_t": 4, "uint32_t": 4, "float": 4,
    "size_t": 8, "int64_t": 8, "uint64_t": 8, "long long": 8, "unsigned long long": 8, "int64": 8, "uint64": 8, "double": 8,
}  # fmt: skip
# Bytes of structs that kernels take by value; of eight-byte alignment. Each is asserted beside its definition.
STRUCTS = {"ParameterArrays": 2312, "FilterArrays": 2824}


def preprocess(source, folders=()):
    """The source after the preprocessor, as for an H100."""
    command = [os.environ.get("CXX", "c++"), "-E", "-P", "-x", "c++", "-std=c++20", "-D__CUDA_ARCH__=900"]
    command += ["-D__CUDACC_VER_MAJOR__=13", "-D__CUDACC_VER_MINOR__=0", "-I", os.path.join(HERE, "shim")]
    command += ["-include", os.path.join(HERE, "shim", "device.h")]
    for folder in folders:
        command += ["-I", folder]
    return subprocess.run([*command, source], check=True, stdout=subprocess.PIPE, text=True).stdout


def parameters(declaration):
    """Types of a parameter list, without names and qualifiers; a pointer ends with `*`."""
    types = []
    for parameter in declaration.split(","):
        words = re.sub(r"\b(const|__restrict__|restrict|volatile|__grid_constant__)\b", " ", parameter)
        if "*" in words:
            types.append(words[: words.rindex("*")].strip() + " *")
        elif words.strip():
            types.append(" ".join(words.split()[:-1]))
    return types


def parameter(declared, name):
    """The declaration of a parameter in PTX, as NVIDIA's compilers write it."""
    if declared.endswith("*"):
        return f".param .u64 .ptr .align 1 {name}"
    if declared in STRUCTS:
        return f".param .align 8 .b8 {name}[{STRUCTS[declared]}]"
    return f".param .b{8 * SIZES[declared]} {name}"


def entries(text):
    """(name, types of its parameters) of each kernel."""
    return [(name, parameters(declaration)) for name, declaration in ENTRY.findall(text)]


def ptx(kernels):
    """PTX that declares the kernels and has no code: the stand-in of the driver runs them by name."""
    lines = ["//", "// Written by a stand-in of NVIDIA's compilers: kernels without code.", "//", ""]
    lines += [".version 9.0", ".target sm_90", ".address_size 64", ""]
    for name, types in kernels:
        lines.append(f".visible .entry {name}(")
        declared = [f"\t{parameter(declared, f'{name}_param_{i}')}" for i, declared in enumerate(types)]
        lines += [",\n".join(declared), ")", "{", "\tret;", "}", ""]
    return "\n".join(lines)
