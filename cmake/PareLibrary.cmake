# What every target of this project is compiled with; nothing global.
add_library(pare_options INTERFACE)
target_compile_features(pare_options INTERFACE cxx_std_20)
target_include_directories(pare_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/pare>)
target_compile_options(pare_options INTERFACE
  $<BUILD_INTERFACE:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wno-missing-field-initializers>
  $<BUILD_INTERFACE:$<$<BOOL:${PARE_WERROR}>:-Werror>>)
# g++ 12 reports overlaps and uninitialized members inside its own std::string and std::function when
# it inlines them (GCC bugs 105651 and 105562); clang and sanitizers watch for the real ones.
target_compile_options(pare_options INTERFACE
  $<BUILD_INTERFACE:$<$<CXX_COMPILER_ID:GNU>:-Wno-restrict;-Wno-maybe-uninitialized>>)

# pare_library(<folder> SOURCES <file>... [USES <folder>...] [HIDES <target>...])
#
# One static library a folder (importers/onnx is target pare::importers_onnx), called from the
# folder's CMakeLists.txt. USES are the folders it may include (held by tests/check_layers.py); HIDES
# are third-party targets no header mentions. Every library is installed (PareInstall.cmake).
function(pare_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;HIDES")
  list(TRANSFORM arg_USES PREPEND pare::)
  add_library(pare_${folder} STATIC ${arg_SOURCES})
  add_library(pare::${folder} ALIAS pare_${folder})
  set_target_properties(pare_${folder} PROPERTIES EXPORT_NAME ${folder})
  target_link_libraries(pare_${folder} PUBLIC pare_options ${arg_USES} PRIVATE ${arg_HIDES})
  set_property(GLOBAL APPEND PROPERTY PARE_LIBRARIES pare_${folder})
endfunction()
