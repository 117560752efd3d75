# The libraries Bertrand stands on, by the names Debian 12 ships them under.
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
# Not by its own dnnl-config.cmake: that one wants OpenCL's headers, which nothing here uses.
# Debian's is 2.6.3; version 3 can be taken from elsewhere, built for GNU OpenMP.
set(BERTRAND_ONEDNN "" CACHE PATH "Folder with include/ and lib/ of another oneDNN than the system's")
if(BERTRAND_ONEDNN)
  set(only_there PATHS ${BERTRAND_ONEDNN} NO_DEFAULT_PATH)
endif()
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp ${only_there} PATH_SUFFIXES include REQUIRED)
find_library(DNNL_LIBRARY dnnl ${only_there} PATH_SUFFIXES lib REQUIRED)
add_library(DNNL::dnnl UNKNOWN IMPORTED)
set_target_properties(DNNL::dnnl PROPERTIES
  IMPORTED_LOCATION ${DNNL_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})
find_package(OpenMP REQUIRED)  # only to tell oneDNN to stay on one thread
find_package(PkgConfig REQUIRED)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # The kernels keep vectors in arrays, which those of SVE, of no fixed size, cannot be; NEON's can.
  set_property(TARGET PkgConfig::hwy APPEND PROPERTY INTERFACE_COMPILE_DEFINITIONS
    "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)")
endif()
pkg_check_modules(snappy REQUIRED IMPORTED_TARGET snappy)
