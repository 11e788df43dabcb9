# What clattn is built from: a package that is missing is named, with how to get it and the switch that
# leaves out what needs it.

# clattn_missing(PACKAGE FOR "the tools need" DEBIAN package... [SETUP option] [WITHOUT switch])
#
# Stops with the sentence.  Without WITHOUT there is no way around the package.
function(clattn_missing package)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "FOR;SETUP;WITHOUT" "DEBIAN")
    list(JOIN arg_DEBIAN " " debian)
    string(STRIP "sh tools/setup.sh ${arg_SETUP}" setup)
    set(sentence "${arg_FOR} ${package}, which was not found.  On Debian or Ubuntu, one of these gets it:
    apt-get install ${debian}
    ${setup}
")
    if(arg_WITHOUT)
        string(APPEND sentence "This switch leaves out what needs it:
    ${arg_WITHOUT}
")
    endif()
    message(FATAL_ERROR "${sentence}") # CMake keeps lines that are indented
endfunction()

# clattn_require(PREFIX MODULE, and the words of clattn_missing)
#
# As pkg_check_modules: the target PkgConfig::PREFIX, of pkg-config's MODULE.
macro(clattn_require prefix module)
    find_package(PkgConfig QUIET)
    if(NOT PKG_CONFIG_FOUND)
        clattn_missing(pkg-config ${ARGN} DEBIAN pkg-config) # one more of them
    endif()
    pkg_check_modules(${prefix} QUIET IMPORTED_TARGET ${module})
    if(NOT ${prefix}_FOUND)
        clattn_missing(${module} ${ARGN})
    endif()
endmacro()
