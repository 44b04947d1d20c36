"""Packages that load their modules when something in them is asked for.

A board has little memory, and most of what a package offers it never needs.
"""


def attribute(package, name, where):
    """What `package.name` is, for the package's `__getattr__`: `where[name]` is the module that
    defines it; else it is one of the package's modules, since MicroPython asks `__getattr__`
    before it looks for a file. Raises AttributeError.
    """
    module = where.get(name, name)
    try:
        found = __import__(package + "." + module, None, None, (name,))
    except ImportError:
        raise AttributeError("module %s has no attribute %s" % (package, name))
    return getattr(found, name) if name in where else found
