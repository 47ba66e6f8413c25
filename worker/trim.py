"""Gives up what a process has mapped of files and will hardly look at again."""

import ctypes
import re

_UNWRITTEN = re.compile(
    rb"^(\w+)-(\w+) r-[x-]p \S+ \S+ [1-9].*\n"  # proc_pid_maps(5): private, not writable, of a file: it has an inode
    rb"(?:\w+:.*\n)*?Anonymous: +0 kB$",  # proc_pid_smaps(5): none of its pages differs from the file's
    re.MULTILINE,
)
_DONTNEED = 4  # MADV_DONTNEED of madvise(2)
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def trim() -> None:
    """Unmap the pages of files that were read and not written. One that is looked at again comes back by itself.

    To import a library is to read much of it once, and around each page that is read the kernel maps 15 more. A mapping
    of which a page has been written keeps all of its pages: what the dynamic linker wrote there would be lost. Where
    the kernel does not tell that (CONFIG_PROC_PAGE_MONITOR), or no file can be opened, all stays as it is.
    """
    try:
        with open("/proc/self/smaps", "rb", buffering=0) as smaps:  # noqa: PTH123 - a Path's code would be touched, too
            text = smaps.read()
    except OSError:
        return
    for mapping in _UNWRITTEN.finditer(text):
        begin, end = (int(address, 16) for address in mapping.groups())
        _madvise(begin, end - begin, _DONTNEED)
