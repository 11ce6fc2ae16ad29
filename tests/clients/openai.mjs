// What the `openai` package makes of a server's answers, as one JSON object.
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const client = new OpenAI({ baseURL: process.argv[2] + '/v1', apiKey: 'none', maxRetries: 0, timeout: 10_000 });
const messages = [{ role: 'user', content: 'one two three' }];
const asked = { model: 'echo', messages };
const City = z.object({ name: z.string(), people: z.number().int() });
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const tools = [
  { type: 'function', function: { name: 'get_weather', parameters, parse: JSON.parse, function: ({ city }) => `sunny in ${city}` } },
];

const all = async (stream, pick) => {
  const found = [];
  for await (const item of await stream) found.push(pick(item));
  return found;
};
const failure = (promise) => promise.then(() => 'none', (error) => [error.constructor.name, error.status ?? null, error.code ?? error.message]);
const chat = client.chat.completions;

const found = {};
found.text = (await chat.create(asked)).choices[0].message.content;
found.pieces = await all(chat.create({ ...asked, stream: true }), (chunk) => chunk.choices[0].delta.content ?? null);
const helped = await chat.stream({ ...asked, stream_options: { include_usage: true } }).finalChatCompletion();
found.helper = [helped.choices[0].message.content, helped.choices[0].finish_reason, helped.usage.total_tokens];
found.runTools = await chat.runTools({ ...asked, tools }).finalContent();
found.runToolsStream = await chat.runTools({ ...asked, tools, stream: true }).finalContent();
found.parsed = (await chat.parse({ ...asked, response_format: zodResponseFormat(City, 'city') })).choices[0].message.parsed;
found.models = await all(client.models.list(), (model) => model.id);
found.unknown = await failure(chat.create({ ...asked, model: 'nope' }));
found.unknownStream = await failure(chat.create({ ...asked, model: 'nope', stream: true }));
found.refused = await failure(chat.create({ ...asked, messages: [] }));
found.broken = await failure(all(chat.create({ ...asked, model: 'breaks', stream: true }), (chunk) => chunk));

found.response = (await client.responses.create({ model: 'echo', input: 'one two' })).output_text;
found.responseStream = (await client.responses.stream({ model: 'echo', input: 'one two' }).finalResponse()).output_text;
found.responseParsed = (await client.responses.parse({ model: 'echo', input: 'hi', text: { format: zodTextFormat(City, 'city') } })).output_parsed;
const [call] = (await client.responses.create({ model: 'echo', input: 'hi', tools: [{ type: 'function', name: 'get_weather', parameters, strict: true }] })).output;
found.responseCall = [call.type, call.name, JSON.parse(call.arguments)];
found.responseUnknown = await failure(client.responses.create({ model: 'nope', input: 'hi' }));
found.responseBroken = await failure(all(client.responses.create({ model: 'breaks', input: 'hi', stream: true }), (event) => event));
console.log(JSON.stringify(found));
