# pare_embed(<target> HEADER <header> <function>=<file>...): compiles files into a library; each becomes
# a function std::string_view pare::<function>(), declared in the header.
#
# Run as a script (-DOUTPUT, -DHEADER, -DASSETS with | between) it writes the source file.
if(CMAKE_SCRIPT_MODE_FILE)
  set(text "// Made by cmake/PareEmbed.cmake.\n#include \"${HEADER}\"\n\nnamespace pare {\n")
  string(REPLACE "|" ";" assets "${ASSETS}")
  foreach(asset ${assets})
    string(REGEX MATCH "^([a-z_]+)=(.*)$" _ ${asset})
    set(function ${CMAKE_MATCH_1})
    file(READ ${CMAKE_MATCH_2} bytes HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(APPEND text "\nstatic constexpr unsigned char k_${function}[] = {\n${bytes}};\n"
      "std::string_view ${function}() {\n"
      "  return {reinterpret_cast<const char*>(k_${function}), sizeof(k_${function})};\n}\n")
  endforeach()
  file(WRITE ${OUTPUT} "${text}\n}  // namespace pare\n")
  return()
endif()

set(PARE_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(pare_embed target)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${target}_assets.cpp)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER" "")
  set(files ${arg_UNPARSED_ARGUMENTS})
  list(TRANSFORM files REPLACE "^[a-z_]+=" "")
  list(JOIN arg_UNPARSED_ARGUMENTS "|" assets)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DHEADER=${arg_HEADER} "-DASSETS=${assets}" -P ${PARE_EMBED_SCRIPT}
    DEPENDS ${files} ${PARE_EMBED_SCRIPT} VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
