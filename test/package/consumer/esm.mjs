import express from 'express'
import { fastify } from 'fastify'
import Koa from 'koa'
import { WebSocket } from 'ws'
import * as core from 'wshub'
import * as client from 'wshub/client'
import * as expressAdapter from 'wshub/express'
import * as fastifyAdapter from 'wshub/fastify'
import * as h3Adapter from 'wshub/h3'
import * as honoAdapter from 'wshub/hono'
import * as inspectorEntry from 'wshub/inspector'
import * as koaAdapter from 'wshub/koa'
import * as logEntry from 'wshub/log'
import * as natsAdapter from 'wshub/nats'
import * as nestAdapter from 'wshub/nest'
import * as nodeClusterAdapter from 'wshub/node-cluster'
import * as telemetryEntry from 'wshub/opentelemetry'
import * as prometheusEntry from 'wshub/prometheus'
import * as protocol from 'wshub/protocol'
import * as redisAdapter from 'wshub/redis'
import * as testing from 'wshub/testing'
import * as backplaneTesting from 'wshub/testing/backplane'
import * as historyTesting from 'wshub/testing/history'
import { namesOf, roundTrips } from './round-trip.mjs'

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
