import { libc } from './libc.ts'
import { checked } from './system-error.ts'

// linux/sched.h
const CLONE_NEWNET = 0x4000_0000

/**
 * Moves the calling thread into a network namespace of its own, empty but for a loopback interface that is down: what it
 * makes there nobody else sees, and is gone with the thread. There is no way back. Other threads stay where they are.
 *
 * @throws SystemError `EPERM` without CAP_SYS_ADMIN; `unshare --user --map-root-user --net` starts a process that has it
 */
export function enterNewNetworkNamespace(): void {
  checked(libc.unshare(CLONE_NEWNET), 'unshare(CLONE_NEWNET)')
}
