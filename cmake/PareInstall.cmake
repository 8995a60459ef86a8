# cmake --install: bin/pare, lib/*.a, include/pare/<folder>/*.h, share/pare, and the CMake package
# `pare`. find_package(pare) gives pare::pare (every folder but cli) and one target a folder
# (pare::ir, pare::importers_onnx, ...).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(libraries GLOBAL PROPERTY PARE_LIBRARIES)
list(REMOVE_ITEM libraries pare_cli)  # The program's own parts are no library for others.

add_library(pare_umbrella INTERFACE)
target_link_libraries(pare_umbrella INTERFACE ${libraries})
set_target_properties(pare_umbrella PROPERTIES EXPORT_NAME pare)

install(TARGETS ${libraries} pare_options pare_umbrella EXPORT pareTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT pareTargets NAMESPACE pare:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pare)

configure_package_config_file(cmake/pareConfig.cmake.in ${PROJECT_BINARY_DIR}/pareConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pare)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pareConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pareConfig.cmake ${PROJECT_BINARY_DIR}/pareConfigVersion.cmake
  cmake/PareDnnl.cmake cmake/PareImages.cmake cmake/PareZip.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pare)

foreach(library ${libraries})
  get_target_property(source_dir ${library} SOURCE_DIR)
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${source_dir})
  install(DIRECTORY ${folder}/ DESTINATION include/pare/${folder} FILES_MATCHING PATTERN "*.h")
endforeach()

if(TARGET pare)
  install(TARGETS pare RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
  # The manual page and completions are printed by the program itself.
  set(generated ${PROJECT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  add_custom_command(OUTPUT ${generated}/pare.1
    COMMAND pare man > ${generated}/pare.1
    COMMAND pare completions bash > ${generated}/pare.bash
    COMMAND pare completions zsh > ${generated}/_pare
    COMMAND pare completions fish > ${generated}/pare.fish
    DEPENDS pare VERBATIM)
  add_custom_target(pare_manual ALL DEPENDS ${generated}/pare.1)
  install(FILES ${generated}/pare.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
  install(FILES ${generated}/pare.bash RENAME pare
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program)
  install(FILES ${generated}/_pare
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT program)
  install(FILES ${generated}/pare.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)
endif()
install(DIRECTORY data/energy data/devices DESTINATION ${CMAKE_INSTALL_DATADIR}/pare COMPONENT program)
install(DIRECTORY pipelines DESTINATION ${CMAKE_INSTALL_DATADIR}/pare COMPONENT program
  FILES_MATCHING PATTERN "*.yaml" PATTERN "*.json")

# cpack makes pare_VERSION_ARCH.deb of the program; the libraries for developers are not in it.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME pare)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trained ONNX networks that cost a fraction of the energy")
set(CPACK_PACKAGE_CONTACT "the pare developers <pare@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL program)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME pare)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_STRIP_FILES ON)
include(CPack)
