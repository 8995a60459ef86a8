# oneDNN. Debian's own CMake package asks for OpenCL headers, so the library is found by hand.
# Installed too: pareConfig.cmake includes it.
find_path(PARE_DNNL_INCLUDE dnnl.h REQUIRED)
find_library(PARE_DNNL_LIBRARY dnnl REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
add_library(pare_dnnl INTERFACE IMPORTED GLOBAL)
target_include_directories(pare_dnnl SYSTEM INTERFACE ${PARE_DNNL_INCLUDE})
target_link_libraries(pare_dnnl INTERFACE ${PARE_DNNL_LIBRARY} OpenMP::OpenMP_CXX)
