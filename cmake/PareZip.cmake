# libzip. Debian's own CMake package fails without the libzip tools, so the library is found by hand.
# Installed too: pareConfig.cmake includes it.
find_path(PARE_ZIP_INCLUDE zip.h REQUIRED)
find_library(PARE_ZIP_LIBRARY zip REQUIRED)
add_library(pare_zip INTERFACE IMPORTED GLOBAL)
target_include_directories(pare_zip SYSTEM INTERFACE ${PARE_ZIP_INCLUDE})
target_link_libraries(pare_zip INTERFACE ${PARE_ZIP_LIBRARY})
