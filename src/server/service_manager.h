#pragma once
// Tells the service manager that started this process (systemd, with Type=notify) how it is doing,
// by the protocol of sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names.
#include <string_view>

namespace floe {

// Made before the sandbox is entered, which opens no more connections.
class ServiceManager {
 public:
  // Connects to the socket that the environment names. Without one, or where it cannot be reached,
  // nothing is ever sent.
  ServiceManager();
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // Variable assignments, one a line: "READY=1", "STATUS=loading". Never blocks; any thread.
  void tell(std::string_view state) const;

 private:
  int descriptor_ = -1;
};

}  // namespace floe
