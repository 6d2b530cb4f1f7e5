import { type KeepalivePeer, Liveness } from '../../src/connection/keepalive.ts'

export class Peer implements KeepalivePeer {
  readonly liveness = new Liveness()
  bytesRead = 0
  readonly sender = {
    messages: 0,
    ping: () => this.pinged(),
    beat: () => this.events.push('beat'),
  }
  isPaused = false
  isClosing = false
  readonly answers: boolean
  readonly events: string[] = []
  constructor(answers: boolean) {
    this.answers = answers
  }
  pinged(): void {
    this.events.push(`ping ${Math.round(performance.now())}`)
    if (this.answers) this.bytesRead += 2
  }
  pongTimedOut(): void {
    this.events.push('pongTimedOut')
  }
  deadlinePassed(): void {
    this.events.push('deadlinePassed')
  }
  credentialExpired(): void {
    this.events.push('credentialExpired')
  }
}
