import { afterAll, beforeAll, expect, it } from 'vitest'
import { bootGuest, type Guest } from '../../scripts/guest/linux-guest.mjs'
import { guestProblem } from '../../scripts/guest/guest-needs.mjs'
import { requirement } from '../requirements.ts'

requirement(guestProblem)('the guest', () => {
  let guest: Guest
  beforeAll(async () => {
    guest = await bootGuest({
      qemuArguments: ['-netdev', 'user,id=n0,restrict=on', '-device', 'virtio-net-pci,netdev=n0,romfile=,addr=0x4'],
    })
  })
  afterAll(() => guest.shutdown())

  it('runs commands', async () => {
    const { code, stdout } = await guest.run(['uname', '-s'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'Linux\n' })
  })
})
