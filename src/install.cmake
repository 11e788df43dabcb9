# Installs the library, its header, and what find_package(clattn) and pkg-config
# read.  The installed tree may be moved: all paths in it are relative.
include(CMakePackageConfigHelpers)

install(TARGETS clattn EXPORT clattn
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/clattn.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/clattn)
configure_package_config_file(src/clattn-config.cmake.in clattn-config.cmake
                              INSTALL_DESTINATION ${config_dir})
# Below 1.0 a minor version may change the interface.
write_basic_package_version_file(clattn-config-version.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT clattn NAMESPACE clattn:: FILE clattn-targets.cmake DESTINATION ${config_dir})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/clattn-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/clattn-config-version.cmake
        DESTINATION ${config_dir})

# A static library leaves what it uses itself to whoever links it.
set(pc_own "")
if(UNIX)
    string(APPEND pc_own " -lm")
endif()
if(CMAKE_THREAD_LIBS_INIT)
    string(APPEND pc_own " ${CMAKE_THREAD_LIBS_INIT}")
endif()
if(clattn_clblast)
    string(APPEND pc_own " -lclblast")
endif()
if(BUILD_SHARED_LIBS)
    set(pc_libs "")
    set(pc_private "${pc_own}")
    set(pc_define " -DCLATTN_SHARED")
else()
    set(pc_libs "${pc_own}")
    set(pc_private "")
    set(pc_define "")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
    set(pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
    set(pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
    file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
    set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(src/clattn.pc.in clattn.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/clattn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
