#include "server/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace floe {

ServiceManager::ServiceManager() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = path == nullptr ? 0 : std::strlen(path);
  if (length < 2 || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return;
  std::memcpy(address.sun_path, path, length);
  // An abstract socket: its name begins with a zero byte.
  if (path[0] == '@') address.sun_path[0] = '\0';
  descriptor_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (descriptor_ >= 0 &&
      connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    close(descriptor_);
    descriptor_ = -1;
  }
}

ServiceManager::~ServiceManager() {
  if (descriptor_ >= 0) close(descriptor_);
}

void ServiceManager::tell(std::string_view state) const {
  if (descriptor_ >= 0) send(descriptor_, state.data(), state.size(), MSG_NOSIGNAL);
}

}  // namespace floe
