import { describe, expect, it } from 'vitest'
import { exampleDescription } from '../control/fake-session.fixture.ts'
import { renderHeading, renderSession } from './session-tree.ts'

describe('renderSession', () => {
  it('draws the chain from the PCI function to the TAP', () => {
    expect(renderSession(exampleDescription)).toBe(
      [
        'qemu 0000:00:01.0  1af4:1041  virtio-net (modern)',
        '└─ VirtioPciDriver  pci-modern, MSI-X 3 vectors',
        '   └─ NetDriver  52:54:00:12:34:56, link up, MTU 1500',
        '      │  features: CSUM MAC VERSION_1',
        '      │  queues: receiveq1 256, transmitq1 256, controlq 64',
        '      └─ TAP t0  up, offloads: checksum tso4 tso6',
      ].join('\n'),
    )
  })

  it('draws a legacy device without TAP, interrupts, features or link', () => {
    const { tap, ...description } = exampleDescription
    expect(tap).toBeDefined()
    const text = renderSession({
      ...description,
      function: { bus: 'model', address: '0000:00:03.0', vendor: 0x1af4, device: 0x1000 },
      device: {
        ...description.device,
        transport: 'pci-legacy',
        legacy: true,
        interrupts: 'none',
        vectors: 0,
        features: [],
      },
      net: { mac: '08:00:27:00:00:01', linkUp: false, mtu: 1500 },
    })
    expect(text).toBe(
      [
        'model 0000:00:03.0  1af4:1000  virtio-net (legacy)',
        '└─ VirtioPciDriver  pci-legacy, polled, no interrupts',
        '   └─ NetDriver  08:00:27:00:00:01, link down, MTU 1500',
        '         features: none',
        '         queues: receiveq1 256, transmitq1 256, controlq 64',
      ].join('\n'),
    )
  })

  it('tells a transitional device from what drives it', () => {
    const fn = { ...exampleDescription.function, device: 0x1000 }
    expect(renderSession({ ...exampleDescription, function: fn })).toContain('1af4:1000  virtio-net (transitional)')
    const device = { ...exampleDescription.device, interrupts: 'msix' as const, vectors: 1 }
    expect(renderSession({ ...exampleDescription, device })).toContain('MSI-X 1 vector\n')
    expect(renderSession({ ...exampleDescription, device: { ...device, interrupts: 'intx' } })).toContain(
      'pci-modern, INTx\n',
    )
  })

  it('draws a vhost-user device, and both devices of a bridge', () => {
    const { function: fn, tap, ...port } = exampleDescription
    expect([fn, tap]).toBeDefined()
    const device = {
      ...port.device,
      transport: 'vhost-user',
      location: '/run/a.sock',
      interrupts: 'eventfd' as const,
      vectors: 3,
    }
    const behindSocket = { ...port, device, socket: { path: '/run/a.sock', listens: 'back-end' } } as const
    expect(renderSession({ ...behindSocket, peer: exampleDescription })).toBe(
      [
        'vhost-user /run/a.sock  virtio-net (the back-end listens)',
        '└─ VhostUserEndpoint  vhost-user, eventfds, 3 vectors',
        '   └─ NetDriver  52:54:00:12:34:56, link up, MTU 1500',
        '         features: CSUM MAC VERSION_1',
        '         queues: receiveq1 256, transmitq1 256, controlq 64',
        'qemu 0000:00:01.0  1af4:1041  virtio-net (modern)',
        '└─ VirtioPciDriver  pci-modern, MSI-X 3 vectors',
        '   └─ NetDriver  52:54:00:12:34:56, link up, MTU 1500',
        '         features: CSUM MAC VERSION_1',
        '         queues: receiveq1 256, transmitq1 256, controlq 64',
      ].join('\n'),
    )
  })

  it('colours when asked to, and says the same then', () => {
    const colored = renderSession(exampleDescription, { color: true })
    expect(colored).toContain('\u001b[1mNetDriver\u001b[')
    // oxlint-disable-next-line no-control-regex
    expect(colored.replaceAll(/\u001b\[[0-9;]*m/g, '')).toBe(renderSession(exampleDescription))
  })

  it('lets no control character through', () => {
    const evil = { ...exampleDescription, tap: { name: 't0\u001b[2J', up: true, offloads: [] } }
    expect(renderSession(evil)).toContain('TAP t0?[2J')
    expect(renderHeading({ ...evil, name: 'a\u001bb', pid: 1, version: '1', started: 'x\r' })).toBe(
      'a?b  running, pid 1, since x?',
    )
  })
})
