import { type Hub, type Labels, type Reading, readInstruments } from 'wshub'

/** A hub that metrics are read from, and the labels that its values have. */
export class HubSource {
  readonly labels: Labels
  readonly #hub: Hub<object>
  /** By the names of the instruments; only while a scrape goes through the metrics. */
  #readings: ReadonlyMap<string, Reading> | undefined

  constructor(hub: Hub<object>, labels: Labels) {
    this.#hub = hub
    this.labels = Object.freeze({ ...labels })
  }

  /** Returns whether the values of both would have the same labels. */
  equals({ labels }: HubSource): boolean {
    const names = Object.keys(labels)
    return (
      names.length === Object.keys(this.labels).length &&
      names.every((name) => labels[name] === this.labels[name])
    )
  }

  /** Returns the reading of an instrument. A register asks for all in one go, so they are read once. */
  read(instrument: string): Reading | undefined {
    if (this.#readings === undefined) {
      this.#readings = new Map(
        readInstruments(this.#hub).map((reading) => [reading.instrument.name, reading]),
      )
      queueMicrotask(() => {
        this.#readings = undefined
      })
    }
    return this.#readings.get(instrument)
  }
}
