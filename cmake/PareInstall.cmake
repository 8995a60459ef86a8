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
  install(TARGETS pare RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY data/energy DESTINATION ${CMAKE_INSTALL_DATADIR}/pare)
install(DIRECTORY pipelines DESTINATION ${CMAKE_INSTALL_DATADIR}/pare
  FILES_MATCHING PATTERN "*.yaml" PATTERN "*.json")
