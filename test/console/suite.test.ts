import { driverSuite } from '@virtio-ts/conformance'
import { ConsoleDriver, consoleSpec } from '@virtio-ts/driver-console'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, beforeEach } from 'vitest'
import { requirement } from '../requirements.ts'
import { type ConsoleMachine, startConsoleMachine } from './console-bench.ts'

// What the models pass, on QEMU's device.
requirement('qemu')('the driver suite on the console of QEMU', () => {
  let machine: ConsoleMachine

  beforeEach(async () => {
    machine = await startConsoleMachine('virtio-serial-pci,disable-legacy=on,max_ports=4')
  })
  afterEach(() => machine?.close())

  driverSuite('console', {
    spec: consoleSpec,
    attach: async () => ({ transport: await VirtioPciDriver.attach(machine.bench.function('serial')) }),
    open: (transport, options) => ConsoleDriver.open(transport, options),
    use: async (driver) => {
      const port = driver.port(0)
      if (!port) throw new Error('there is no console')
      await new Promise<void>((resolve, reject) =>
        port.write('a line\n', (error) => (error ? reject(error) : resolve())),
      )
    },
    rounds: 20,
  })
})
