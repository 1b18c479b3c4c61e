import type { NotifySocket } from '@virtio-ts/native'
import { beforeEach, describe, expect, it } from 'vitest'
import { ServiceNotifier } from './service-notifier.ts'

let sent: string[]
let notifier: ServiceNotifier
beforeEach(() => {
  sent = []
  notifier = new ServiceNotifier({
    present: true,
    send: (text: string) => sent.push(text) > 0,
  } as unknown as NotifySocket)
})

const ready = {
  event: 'ready',
  tap: 'vt0',
  mac: '52:54:00:12:34:56',
  features: ['MAC'],
  transport: 't',
  vectors: 3,
} as const

describe('ServiceNotifier', () => {
  it('is ready when the session is, and not before', () => {
    notifier.tell({ event: 'notice', message: 'waiting for a vhost-user back-end to connect to /a' })
    notifier.tell({ ...ready, device: 'model:net' })
    expect(sent).toEqual([
      'STATUS=waiting for a vhost-user back-end to connect to /a',
      'READY=1\nSTATUS=model:net is now vt0 (52:54:00:12:34:56, t, 3 vectors): MAC',
    ])
  })

  it('tells of the link, and of recoveries', () => {
    notifier.tell({ ...ready, device: 'model:net' })
    notifier.tell({ event: 'link', up: false })
    notifier.tell({ event: 'fault', code: 'device.gone', message: 'it is\ngone' })
    notifier.tell({ event: 'reset', reason: 'device.gone' })
    notifier.stopping()
    expect(sent.slice(1)).toEqual([
      'STATUS=vt0: link down',
      'STATUS=vt0: recovering, after device.gone: it is gone',
      'STATUS=vt0: device reset after device.gone, running again',
      'STOPPING=1\nSTATUS=stopping',
    ])
  })

  it('says that it waits for a back-end that will come back', () => {
    notifier.tell({ ...ready, device: 'vhost-user:/a' })
    notifier.tell({ event: 'fault', code: 'device.gone', message: 'closed' })
    notifier.tell({ event: 'fault', code: 'ring.length', message: 'too much' })
    expect(sent.slice(1)).toEqual([
      'STATUS=vt0: waiting for the back-end, after device.gone: closed',
      'STATUS=vt0: recovering, after ring.length: too much',
    ])
  })

  it('tells the devices of a bridge apart', () => {
    const port = { mac: '', features: [], transport: 't', vectors: 3 }
    notifier.tell({
      event: 'ready',
      name: 'bridge0',
      ports: [
        { ...port, device: 'model:net' },
        { ...port, device: 'vhost-user:/b' },
      ],
    })
    for (const each of ['a', 'b'] as const)
      notifier.tell({ event: 'fault', port: each, code: 'device.gone', message: 'closed' })
    expect(sent.slice(1)).toEqual([
      'STATUS=bridge0: a: recovering, after device.gone: closed',
      'STATUS=bridge0: b: waiting for the back-end, after device.gone: closed',
    ])
  })

  it('keeps a status to one line without control characters', () => {
    notifier.tell({ event: 'notice', message: `a\u001b[31m\nREADY=1\r\n${'x'.repeat(1000)}` })
    expect(sent[0]).toMatch(/^STATUS=a\?\[31m READY=1\? x+$/)
    expect(sent[0]?.length).toBeLessThan(600)
  })
})
