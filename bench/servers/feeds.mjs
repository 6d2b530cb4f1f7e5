// The feeds of the scenarios `window`: texts like those of real services, as ASCII, generated from a seed.
// The text with a number is the same in every process and run.
//   trades     trades of 40 instruments, 5 of which have half of them; prices near those of each
//   chat       lines of a room of 300 users: 3 to 30 words, of which some are much more frequent than others
//   positions  positions of 400 vehicles on a map of a city, each of which drives on between two messages

import { seededRandom } from './payload.mjs'

const START_MS = 1_764_000_000_000

const WORDS =
  `the be to of and a in that have I it for not on with he as you do at this but his by from they we say her she or
an will my one all would there their what so up out if about who get which go me when make can like time no just him know take
people into year your good some could them see other than then now look only come its over think also back after use two how our
work first well way even new want because any these give day most us is are was were been has had did said got made went thanks
hello yes okay sure maybe please sorry great nice cool right wrong today tomorrow yesterday morning evening night week month
meeting call report ticket issue bug fix build test release deploy server client page link file photo video music game lunch
coffee train bus car house home office team friend family kids dog cat weather rain sun cold warm happy tired busy ready late
early fast slow open close start stop help need find found send sent read write wrote check done working waiting asking question
answer number update version problem idea plan price order customer account password login email phone address`.split(
    /\s+/,
  )

const INSTRUMENTS = Array.from({ length: 40 }, (_, i) => {
  const random = seededRandom(1_000 + i)
  const letters = Array.from({ length: 3 + (i % 2) }, () =>
    String.fromCharCode(65 + Math.floor(random() * 26)),
  )
  return { symbol: `${letters.join('')}-${i % 3 === 0 ? 'EUR' : 'USD'}`, price: 10 ** (1 + random() * 3.5) }
})

const FEEDS = {
  trades(random, number) {
    const { symbol, price } = INSTRUMENTS[Math.floor(random() * (random() < 0.5 ? 5 : 40))]
    return {
      type: 'trade',
      symbol,
      price: (price * (1 + (random() - 0.5) / 500)).toFixed(2),
      size: (10 ** (random() * 4 - 2)).toFixed(4),
      side: random() < 0.5 ? 'buy' : 'sell',
      id: 48_210_000 + number,
      time: START_MS + number * 37 + Math.floor(random() * 30),
    }
  },
  chat(random, number) {
    const words = Array.from(
      { length: 3 + Math.floor(random() * random() * 28) },
      () => WORDS[Math.floor(random() ** 2 * WORDS.length)],
    )
    return {
      type: 'message',
      room: 'general',
      id: 730_000 + number,
      from: `user-${Math.floor(random() * random() * 300)}`,
      at: new Date(START_MS + number * 1_700 + Math.floor(random() * 1_000)).toISOString(),
      text: words.join(' '),
    }
  },
  positions(random, number) {
    const vehicle = (number * 149) % 400
    const own = seededRandom(5_000 + vehicle)
    const [lat, lon, heading, speed] = [52.4 + own() * 0.2, 13.2 + own() * 0.4, own() * 360, 5 + own() * 45]
    const hours = (Math.floor(number / 400) * 5) / 3_600
    const km = speed * hours
    return {
      type: 'position',
      vehicle: `bus-${1_000 + vehicle}`,
      lat: +(lat + (km / 111) * Math.cos(heading) + (random() - 0.5) / 50_000).toFixed(6),
      lon: +(lon + (km / 68) * Math.sin(heading) + (random() - 0.5) / 50_000).toFixed(6),
      heading: Math.round(heading + (random() - 0.5) * 10 + 360) % 360,
      speed: +(speed + random() * 4).toFixed(1),
      at: START_MS + number * 12 + Math.floor(random() * 10),
    }
  },
}

/** The text of message `number` of a feed. */
export function feedText(feed, number) {
  const random = seededRandom(Math.imul(number + 1, 0x9e3779b1))
  random() // the first numbers of neighbouring seeds are alike
  random()
  return JSON.stringify(FEEDS[feed](random, number))
}
