#include "server/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace floe {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;
#endif

// Refused whatever their arguments.
constexpr uint32_t kRefused[] = {
    // Programs and processes. io_uring would do most of this list without a system call.
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_pidfd_getfd,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
    // The network: what is open stays open.
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    // Files.
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_truncate,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_openat2,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef SYS_unlink
    SYS_creat,
    SYS_unlink,
    SYS_rename,
    SYS_link,
    SYS_symlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_mknod,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
#endif
    // The system.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_sethostname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_acct,
    SYS_quotactl,
};

constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;

sock_filter load_field(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}
// The low half of an argument; both processors are little-endian.
sock_filter load_argument(size_t index) {
  return load_field(offsetof(seccomp_data, args) + index * sizeof(uint64_t));
}
sock_filter give(uint32_t verdict) {
  return BPF_STMT(BPF_RET | BPF_K, verdict);
}
sock_filter jump_if(uint16_t how, uint32_t value, uint8_t when_true, uint8_t when_false) {
  return BPF_JUMP(static_cast<uint16_t>(BPF_JMP | how | BPF_K), value, when_true, when_false);
}

std::vector<sock_filter> filter() {
  constexpr uint32_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  std::vector<sock_filter> rules = {
      load_field(offsetof(seccomp_data, arch)),
      jump_if(BPF_JEQ, kArchitecture, 1, 0),
      give(SECCOMP_RET_KILL_PROCESS),  // calls of another instruction set have other numbers
      load_field(offsetof(seccomp_data, nr)),
  };
#if defined(__x86_64__)
  // The x32 numbers name the same calls once more.
  rules.push_back(jump_if(BPF_JGE, 0x40000000, 0, 1));
  rules.push_back(give(kRefuse));
#endif
  for (const uint32_t number : kRefused) {
    rules.push_back(jump_if(BPF_JEQ, number, 0, 1));
    rules.push_back(give(kRefuse));
  }
  // clone3 hides its flags from filters: the C library then uses clone, which may make threads.
  rules.push_back(jump_if(BPF_JEQ, SYS_clone3, 0, 1));
  rules.push_back(give(SECCOMP_RET_ERRNO | ENOSYS));
  rules.push_back(jump_if(BPF_JEQ, SYS_clone, 0, 4));
  rules.push_back(load_argument(0));
  rules.push_back(jump_if(BPF_JSET, CLONE_THREAD, 0, 1));
  rules.push_back(give(SECCOMP_RET_ALLOW));
  rules.push_back(give(kRefuse));
  rules.push_back(jump_if(BPF_JEQ, SYS_openat, 0, 4));
  rules.push_back(load_argument(2));
  rules.push_back(jump_if(BPF_JSET, kWriting, 0, 1));
  rules.push_back(give(kRefuse));
  rules.push_back(give(SECCOMP_RET_ALLOW));
#ifdef SYS_open
  rules.push_back(jump_if(BPF_JEQ, SYS_open, 0, 3));
  rules.push_back(load_argument(1));
  rules.push_back(jump_if(BPF_JSET, kWriting, 0, 1));
  rules.push_back(give(kRefuse));
#endif
  rules.push_back(give(SECCOMP_RET_ALLOW));
  return rules;
}

}  // namespace

SandboxState enter_sandbox() {
  if (kArchitecture == 0) return SandboxState::unsupported;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return SandboxState::unsupported;
  std::vector<sock_filter> rules = filter();
  const sock_fprog program{static_cast<unsigned short>(rules.size()), rules.data()};
  // All threads at once, or none.
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
    return SandboxState::unsupported;
  }
  return SandboxState::on;
}

}  // namespace floe
