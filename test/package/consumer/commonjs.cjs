const express = require('express')
const { fastify } = require('fastify')
const Koa = require('koa')
const { WebSocket } = require('ws')
const core = require('wshub')
const expressAdapter = require('wshub/express')
const fastifyAdapter = require('wshub/fastify')
const client = require('wshub/client')
const h3Adapter = require('wshub/h3')
const honoAdapter = require('wshub/hono')
const koaAdapter = require('wshub/koa')
const natsAdapter = require('wshub/nats')
const nestAdapter = require('wshub/nest')
const nodeClusterAdapter = require('wshub/node-cluster')
const prometheusEntry = require('wshub/prometheus')
const telemetryEntry = require('wshub/opentelemetry')
const logEntry = require('wshub/log')
const inspectorEntry = require('wshub/inspector')
const protocol = require('wshub/protocol')
const redisAdapter = require('wshub/redis')
const testing = require('wshub/testing')
const backplaneTesting = require('wshub/testing/backplane')
const historyTesting = require('wshub/testing/history')

async function main() {
  const { namesOf, roundTrips } = await import('./round-trip.mjs')
  const answers = await roundTrips({
    core,
    adapters: { express: expressAdapter, fastify: fastifyAdapter, koa: koaAdapter },
    frameworks: { express, fastify, Koa },
    WebSocket,
    testing,
  })
  const names = {
    wshub: namesOf(core),
    'wshub/protocol': namesOf(protocol),
    'wshub/fastify': namesOf(fastifyAdapter, 'hubPlugin'),
    'wshub/express': namesOf(expressAdapter, 'wsHub'),
    'wshub/koa': namesOf(koaAdapter, 'wsHub'),
    'wshub/hono': namesOf(honoAdapter, 'wsHub'),
    'wshub/h3': namesOf(h3Adapter, 'wsHub'),
    'wshub/nest': namesOf(nestAdapter),
    'wshub/redis': namesOf(redisAdapter),
    'wshub/nats': namesOf(natsAdapter),
    'wshub/node-cluster': namesOf(nodeClusterAdapter),
    'wshub/prometheus': namesOf(prometheusEntry),
    'wshub/opentelemetry': namesOf(telemetryEntry),
    'wshub/log': namesOf(logEntry),
    'wshub/inspector': namesOf(inspectorEntry),
    'wshub/client': namesOf(client),
    'wshub/testing': namesOf(testing),
    'wshub/testing/backplane': namesOf(backplaneTesting),
    'wshub/testing/history': namesOf(historyTesting),
  }
  console.log(JSON.stringify({ answers, names }))
}

main()
