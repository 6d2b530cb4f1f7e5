import { Frame, Opcode } from 'wshub'
import { Wire } from './wire.ts'
import type { World } from './world.ts'

/** The mask of all frames. Any key does, since both ends use the same. */
const MASK_KEY = Buffer.from([1, 2, 3, 4])
const END_OF_HEAD = '\r\n\r\n'

/**
 * A client that does what the protocol asks for and no more, as a page does. One object is one connection.
 */
export class Client {
  readonly name: string
  readonly place: number
  readonly node: string
  readonly #wire: Wire
  readonly #world: World
  #bytes = Buffer.alloc(0)
  #isUpgraded = false
  #isStalled = false
  /** Texts that wait for the upgrade. */
  readonly #unsent: string[] = []
  readonly #unread: { readonly bytes: Buffer; readonly taken: () => void }[] = []
  /** The close code of the server; 0 while the connection is not closed. */
  closeCode = 0

  constructor(world: World, name: string, place: number, node: string, accept: (wire: Wire) => void) {
    this.#world = world
    this.name = name
    this.place = place
    this.node = node
    this.#wire = new Wire(
      world.clock,
      world.random,
      { received: (bytes, taken) => this.#received(bytes, taken), ended: () => this.drop() },
      { client: name, node },
    )
    this.#wire.accepted(() => accept(this.#wire))
    const key = Buffer.alloc(16).toString('base64')
    this.#wire.send(
      Buffer.from(
        `GET /${name} HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      ),
    )
  }

  get isOpen(): boolean {
    return this.closeCode === 0
  }

  send(text: string): void {
    if (this.isOpen) this.#write(Opcode.text, Buffer.from(text))
  }

  /** Sends a text, as soon as the connection is upgraded. */
  sendWhenOpen(text: string): void {
    if (this.#isUpgraded) this.send(text)
    else this.#unsent.push(text)
  }

  /** Closes with a closing handshake. */
  close(): void {
    if (this.isOpen) this.#write(Opcode.close, Buffer.from([3, 232]))
  }

  /** Ends the connection without a handshake. */
  drop(): void {
    this.#wire.hangUp()
    this.#closed(1006)
  }

  /** Vanishes: the server is not notified. */
  vanish(): void {
    this.#wire.isSilent = true
    this.#closed(1006)
  }

  stall(): void {
    this.#isStalled = true
  }

  /** Resumes reading. */
  resume(): void {
    if (!this.#isStalled) return
    this.#isStalled = false
    for (const { bytes, taken } of this.#unread.splice(0)) this.#read(bytes, taken)
  }

  #received(bytes: Buffer, taken: () => void): void {
    if (this.#isStalled) this.#unread.push({ bytes, taken })
    else this.#read(bytes, taken)
  }

  #read(bytes: Buffer, taken: () => void): void {
    if (!this.isOpen) return
    taken()
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    if (!this.#isUpgraded && !this.#readHead()) return
    for (let next = Frame.decode(this.#bytes); next !== null; next = Frame.decode(this.#bytes)) {
      this.#bytes = this.#bytes.subarray(next.bytes)
      this.#frame(next.frame)
    }
  }

  #readHead(): boolean {
    const end = this.#bytes.indexOf(END_OF_HEAD)
    if (end < 0) return false
    const status = this.#bytes.toString('latin1', 9, 12)
    this.#bytes = this.#bytes.subarray(end + END_OF_HEAD.length)
    this.#isUpgraded = status === '101'
    if (!this.#isUpgraded) {
      this.#world.trace(`${this.name} is refused with ${status}`)
      this.#closed(1006)
    }
    for (const text of this.#unsent.splice(0)) this.send(text)
    return this.#isUpgraded
  }

  #frame({ opcode, payload }: Frame): void {
    if (opcode === Opcode.text) this.#world.received(this, payload.toString())
    else if (opcode === Opcode.ping) this.#write(Opcode.pong, payload)
    else if (opcode === Opcode.close) {
      this.#write(Opcode.close, payload)
      this.#world.ledger.closedBy(this, payload.toString('utf8', 2))
      this.#closed(payload.length < 2 ? 1005 : payload.readUInt16BE(0))
    }
  }

  #write(opcode: Opcode, payload: Buffer): void {
    this.#wire.send(new Frame({ opcode, payload, masked: true, maskKey: MASK_KEY }).encode())
  }

  #closed(code: number): void {
    if (!this.isOpen) return
    this.closeCode = code
    this.#world.trace(`${this.name} closes (${code})`)
  }
}
