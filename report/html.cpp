#include "report/html.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "report/assets.h"
#include "report/json.h"
#include "support/sha256.h"

namespace pare {
namespace {

/// Text between tags.
std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

/// JSON that cannot end the script element it stands in, whatever a model's names contain.
std::string inert(std::string_view json) {
  std::string result;
  for (const char c : json) {
    if (c == '<') {
      result += "\\u003c";
    } else {
      result += c;
    }
  }
  return result;
}

uint32_t hex_digit(char c) { return static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10); }

/// 'sha256-...' of a Content-Security-Policy: base64 of the digest.
std::string source_hash(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string hex = sha256_hex(std::as_bytes(std::span(text)));
  std::string base64;
  for (size_t i = 0; i < hex.size(); i += 6) {  // Three bytes a time; 32 leave two at the end.
    uint32_t bits = 0;
    for (size_t k = i; k < i + 6; ++k) bits = bits << 4 | (k < hex.size() ? hex_digit(hex[k]) : 0);
    for (int shift = 18; shift >= 0; shift -= 6) base64 += kDigits[bits >> shift & 63];
  }
  base64.back() = '=';
  return "'sha256-" + base64 + "'";
}

}  // namespace

std::string html_page(const std::string& title, const std::string& json) {
  const std::string style(page_style());
  std::string sources, scripts;
  for (const std::string_view script : {chart_library(), page_kit(), page_script()}) {
    sources += " " + source_hash(script);
    scripts += "<script>" + std::string(script) + "</script>\n";
  }
  const std::string policy =
      "default-src 'none'; script-src" + sources + "; style-src " + source_hash(style);
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"" +
         policy +
         "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escaped(title) + "</title>\n<style>" + style +
         "</style>\n</head>\n<body>\n<noscript>This report draws itself with a script that is part "
         "of this file; allow it to run.</noscript>\n<main id=\"report\"></main>\n"
         "<script type=\"application/json\" id=\"data\">" +
         inert(Json::parse(json).dump()) + "</script>\n" + scripts + "</body>\n</html>\n";
}

}  // namespace pare
