# What images are decoded and unpacked with. Installed too: pareConfig.cmake includes it.
find_package(PNG REQUIRED)
find_package(LibArchive REQUIRED)
find_path(PARE_TURBOJPEG_INCLUDE turbojpeg.h REQUIRED)
find_library(PARE_TURBOJPEG_LIBRARY turbojpeg REQUIRED)
find_path(PARE_WEBP_INCLUDE webp/decode.h REQUIRED)
find_library(PARE_WEBP_LIBRARY webp REQUIRED)
add_library(pare_images_libraries INTERFACE IMPORTED GLOBAL)
target_include_directories(pare_images_libraries SYSTEM INTERFACE
  ${PARE_TURBOJPEG_INCLUDE} ${PARE_WEBP_INCLUDE})
target_link_libraries(pare_images_libraries INTERFACE
  ${PARE_TURBOJPEG_LIBRARY} ${PARE_WEBP_LIBRARY} PNG::PNG LibArchive::LibArchive)
