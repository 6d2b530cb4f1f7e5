import { type Link, newLinkStats } from './link.ts'

/** The link of a hub without a backplane: there is no other node. */
export class SoloLink implements Link {
  readonly stats = newLinkStats()
  readonly state = 'connected'
  readonly peers = []
  readonly rooms = 0
  readonly isStarting = false
  readonly settlingMs = 0

  knows(): boolean {
    return false
  }

  async ready(): Promise<void> {}

  occupied(): void {}

  vacated(): void {}

  async listening(): Promise<void> {}

  broadcast(): void {}

  direct(): boolean {
    return false
  }

  ask(): boolean {
    return false
  }

  tell(): boolean {
    return false
  }

  watch(): void {}

  reportUnasked(): void {}

  respond(): void {}

  async close(): Promise<void> {}
}
