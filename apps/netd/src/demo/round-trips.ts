import type { NetDriver, NetHeaderFields } from '@virtio-ts/driver-net'

/** One kind of question and what became of it. */
export interface RoundTrips {
  readonly name: string
  readonly sent: number
  readonly answered: number
}

export interface Question {
  readonly frame: Uint8Array
  readonly header?: NetHeaderFields
  readonly isAnswer: (frame: Uint8Array) => boolean
}

const patience = 2000

/** Sends each question and waits for its answer, woken by the device's notifications. */
export async function askByInterrupt(
  driver: NetDriver,
  name: string,
  questions: readonly Question[],
): Promise<RoundTrips> {
  const frames = driver.frames()
  let answered = 0
  try {
    for (const { frame, header, isAnswer } of questions) {
      driver.send(frame, header)
      if (await arrives(frames, isAnswer)) answered++
    }
  } finally {
    await frames.return()
  }
  return { name, sent: questions.length, answered }
}

async function arrives(frames: AsyncGenerator<Uint8Array>, isAnswer: (frame: Uint8Array) => boolean): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, patience, undefined)
  })
  try {
    for (;;) {
      const next = await Promise.race([frames.next(), late])
      if (next === undefined || next.done) return false
      if (isAnswer(next.value)) return true
    }
  } finally {
    clearTimeout(timer)
  }
}

/** The same in one go: no interrupt, no promise, the event loop never turns. */
export function askByPolling(driver: NetDriver, name: string, questions: readonly Question[]): RoundTrips {
  let answered = 0
  for (const { frame, header, isAnswer } of questions) {
    driver.send(frame, header)
    const end = performance.now() + patience
    let found = false
    while (!found && performance.now() < end) {
      driver.poll()
      driver.receive((packet) => {
        found ||= isAnswer(packet.toFrame())
      }, 64)
    }
    if (found) answered++
  }
  return { name, sent: questions.length, answered }
}
