#pragma once
// The files of the web page, as they were built from web/ and embedded in the binary.
#include <span>
#include <string_view>

namespace floe {

// One file of the page. All views point at static storage and live as long as the program.
struct PageAsset {
  std::string_view path;          // URL path, "/" for the document itself, else "/assets/..."
  std::string_view content_type;  // with charset where it is text
  std::string_view bytes;
  std::string_view etag;  // quoted, a digest of `bytes`: ready for the header and for If-None-Match
  // The name carries a digest of the content: may be cached for ever
  // ("public, max-age=31536000, immutable"). The others want "no-cache".
  bool immutable;
};

// Every file of the page, the document first; empty when the page was left out of the build.
std::span<const PageAsset> page_assets();

// The policy the page is built for; it goes on every page response. Nothing is inline, nothing
// comes from another origin, and a picture in a model's answer cannot carry text away.
inline constexpr std::string_view page_security_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'";

}  // namespace floe
