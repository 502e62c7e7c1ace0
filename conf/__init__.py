"""The configuration files of all commands, as a package, so that Hydra finds them where nas is.

Hydra imports this package before it reads a file, and then the functions are there that the files
call as ${name:arguments}.
"""

from nas.run.resolvers import register

register()
