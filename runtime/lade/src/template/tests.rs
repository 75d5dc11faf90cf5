use serde_json::{Value, json};

use super::Template;

/// What all templates here are filled in with. (The keys are sorted, as Go's maps are.)
const DATA: &str = r##"{"Config":{"Deep":{"N":[{"K":"v1"},{"K":"v2"}]},"Env":["A=1","B=2"],"User":"me"},"Empty":"","Float":1.5,"Html":"<a&b>","Labels":{"a":"1","b":"2"},"Large":1e21,"List":["a","b","c"],"Map":{"x":1,"y":"z"},"Mixed":[1,"x",null,true,[2]],"Name":"web","Neg":-5,"No":false,"None":[],"Null":null,"Nums":[1,2,3],"Quote":"a\"b\\\n\u0001é","Size":1234,"Tiny":1e-05,"Title":"hello big_world it's éa","Whole":1000000.0,"Yes":true,"Zero":0}"##;

/// Templates and what Go 1.26 makes of them, with docker's functions added: made by a program in Go from the same data, in which an integer is
/// an int, a list of texts a []string and an object of texts a map[string]string, as docker's types have it.
#[rustfmt::skip]
const GO: &[(&str, &str)] = &[
    ("plain text", "plain text"),
    ("{{.Name}}", "web"),
    ("{{.Name}}:{{.Size}}", "web:1234"),
    ("{{.Empty}}|{{.Zero}}|{{.Neg}}|{{.Float}}|{{.Whole}}|{{.Large}}|{{.Tiny}}", "|0|-5|1.5|1e+06|1e+21|1e-05"),
    ("{{.Yes}} {{.No}} {{.Null}}", "true false <no value>"),
    ("{{.List}} {{.None}} {{.Nums}} {{.Mixed}}", "[a b c] [] [1 2 3] [1 x <nil> true [2]]"),
    ("{{.Labels}} {{.Map}}", "map[a:1 b:2] map[x:1 y:z]"),
    ("{{.Config.User}} {{.Config.Env}} {{.Config.Deep}}", "me [A=1 B=2] map[N:[map[K:v1] map[K:v2]]]"),
    ("{{$.Name}} {{$.Config.User}}", "web me"),
    ("{{ .Name }}", "web"),
    ("{{.Name -}}   x   {{- .Size}}", "webx1234"),
    ("  {{- .Name}}", "web"),
    ("{{/* comment */}}a", "a"),
    ("a {{- /* comment */ -}} b", "ab"),
    ("{{\"text\"}} {{`raw\\n`}} {{\"a\\tb\\\"\\\\\\u00e9\\x41\\101\"}}", "text raw\\n a\tb\"\\\u{e9}AA"),
    ("{{'a'}} {{'\\n'}} {{1}} {{-3}} {{+3}} {{0x1F}} {{0b11}} {{0o17}} {{017}} {{1_000}} {{1.5}} {{1e3}} {{.5}}", "97 10 1 -3 3 31 3 15 15 1000 1.5 1000 0.5"),
    ("{{true}} {{false}}", "true false"),
    ("{{$x := .Name}}{{$x}}{{$x = 5}} {{$x}}", "web 5"),
    ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{$x}}{{end}}{{$x}}", "22"),
    ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
    ("{{range $i, $e := .List}}{{$i}}={{$e}} {{end}}", "0=a 1=b 2=c "),
    ("{{range $e := .List}}{{$e}}{{end}}", "abc"),
    ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
    ("{{range .None}}x{{else}}none{{end}}", "none"),
    ("{{range .Null}}x{{else}}null{{end}}", "null"),
    ("{{range $i, $e := .List}}{{if eq $i 1}}{{continue}}{{end}}{{$e}}{{end}}", "ac"),
    ("{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{range $i := 3}}{{$i}}{{end}}", "012"),
    ("{{range .Zero}}x{{else}}zero{{end}}", "zero"),
    ("{{range .Neg}}x{{else}}neg{{end}}", "neg"),
    ("{{range .Config.Deep.N}}{{.K}}{{$.Name}}{{end}}", "v1webv2web"),
    ("{{range $i, $e := .List}}{{if $i}},{{end}}{{$e}}{{end}}", "a,b,c"),
    ("{{if .Name}}y{{else}}n{{end}}", "y"),
    ("{{if .Empty}}y{{else}}n{{end}}{{if .Zero}}y{{else}}n{{end}}{{if .None}}y{{else}}n{{end}}{{if .Null}}y{{else}}n{{end}}{{if .Labels}}y{{else}}n{{end}}{{if .Float}}y{{else}}n{{end}}", "nnnnyy"),
    ("{{if .No}}a{{else if eq .Size 1234}}b{{else}}c{{end}}", "b"),
    ("{{if .No}}a{{else if .No}}b{{else}}c{{end}}", "c"),
    ("{{with .Config}}{{.User}}{{end}}", "me"),
    ("{{with .Empty}}x{{else}}empty{{end}}", "empty"),
    ("{{with $u := .Config.User}}{{$u}}{{.}}{{end}}", "meme"),
    ("{{with .Empty}}x{{else with .Name}}{{.}}{{else}}z{{end}}", "web"),
    ("{{if $x := .Name}}{{$x}}{{end}}", "web"),
    ("{{len .List}} {{len .Name}} {{len .Labels}}", "3 3 2"),
    ("{{index .List 0}} {{index .Labels \"a\"}} {{index .Config \"User\"}} {{index .Config.Deep.N 1 \"K\"}}", "a 1 me v2"),
    ("[{{index .Labels \"missing\"}}]", "[]"),
    ("[{{index .Map \"missing\"}}]", "[<no value>]"),
    ("{{index .Name 0}}", "119"),
    ("{{slice .Name 1}} {{slice .Name 1 2}} {{slice .List 1}} {{slice .List 1 2}}", "eb e [b c] [b]"),
    ("{{printf \"%s-%d\" .Name .Size}}", "web-1234"),
    ("{{printf \"%5d|%-5d|%05d|%+d|% d\" .Size .Size .Size .Size .Size}}", " 1234|1234 |01234|+1234| 1234"),
    ("{{printf \"%6s|%-6s|%.2s|%q\" .Name .Name .Name .Name}}", "   web|web   |we|\"web\""),
    ("{{printf \"%v %v %v %v\" .List .Labels .Null .Mixed}}", "[a b c] map[a:1 b:2] <nil> [1 x <nil> true [2]]"),
    ("{{printf \"%q\" .List}} {{printf \"%s\" .Labels}}", "[\"a\" \"b\" \"c\"] map[a:1 b:2]"),
    ("{{printf \"%x %X %o %b %c %U %#x %#o\" 255 255 8 5 65 65 255 8}}", "ff FF 10 101 A U+0041 0xff 010"),
    ("{{printf \"%x %X\" .Name .Name}}", "776562 776562"),
    ("{{printf \"%f %.1f %e %g %G %6.2f|%-8.2f|%08.2f\" .Float .Float .Float .Float .Float .Float .Float .Float}}", "1.500000 1.5 1.500000e+00 1.5 1.5   1.50|1.50    |00001.50"),
    ("{{printf \"%t %v %5t\" .Yes .No .Yes}}", "true false  true"),
    ("{{printf \"%d %s %z %t\" .Name .Size .Name 3}}", "%!d(string=web) %!s(int=1234) %!z(string=web) %!t(int=3)"),
    ("{{printf \"%d\"}} {{printf \"x\" 1 \"a\"}} {{printf \"%\"}} {{printf \"100%%\"}}", "%!d(MISSING) x%!(EXTRA int=1, string=a) %!(NOVERB) 100%"),
    ("{{printf \"%*d|%-*d|%.*f\" 5 1 5 2 1 2.55}}", "    1|2    |2.5"),
    ("{{printf \"%T %T %T %T\" .Name .Size .Float .Yes}}", "string int float64 bool"),
    ("{{printf \"%q\" .Quote}} {{printf \"%q\" 65}} {{printf \"%#v\" .Name}}", "\"a\\\"b\\\\\\n\\x01\u{e9}\" 'A' \"web\""),
    ("{{printf \"%s\" .Null}} {{printf \"%d\" .Nums}} {{printf \"%03d\" .Nums}} {{printf \"%6.2v|\" .Float}}", "%!s(<nil>) [1 2 3] [001 002 003]    1.5|"),
    ("{{printf \"%g %g %g %g %g\" 100000.0 123456789.0 1e20 1e21 0.0001}}", "100000 1.23456789e+08 1e+20 1e+21 0.0001"),
    ("{{printf \"%.3g %.10g %.3g %e\" 1234.5678 1234.5678 0.00012345 0.0}}", "1.23e+03 1234.5678 0.000123 0.000000e+00"),
    ("{{print \"a\" \"b\"}} {{print 1 2}} {{print \"a\" 1 2 \"b\"}} {{print .Null}} {{print 1 \"a\"}} {{print .Yes .No}}", "ab 1 2 a1 2b <nil> 1a true false"),
    ("{{println \"a\" 1}}", "a 1\n"),
    ("{{println .Null .List}}x", "<nil> [a b c]\nx"),
    ("{{eq 1 1}} {{eq \"a\" \"b\"}} {{eq 1 2 3 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 1}} {{lt \"a\" \"b\"}}", "true false true true true true false true true"),
    ("{{eq .Float 1.5}} {{lt .Float 2.5}} {{eq .Yes true}} {{eq .Null nil}}", "true true true true"),
    ("{{and 1 0}} {{and 1 2}} {{or 0 \"x\"}} {{or 0 \"\"}}| {{not 1}} {{not .Empty}} {{and true}}", "0 2 x | false true true"),
    ("{{and .No (index .List 9)}} {{or .Yes (index .List 9)}}", "false true"),
    ("{{if and .Yes (eq .Name \"web\")}}both{{end}}", "both"),
    ("{{if or (eq .Name \"x\") (gt .Size 1000)}}one{{end}}", "one"),
    ("{{.Name | upper}} {{.Name | printf \"%s-%s\" \"a\"}} {{.List | len | printf \"%03d\"}}", "WEB a-web 003"),
    ("{{(index .Config.Deep.N 0).K}} {{(.Config).User}}", "v1 me"),
    ("{{print (len .List) (print \"x\" \"y\")}}", "3xy"),
    ("{{json .Name}} {{json .List}} {{json .Map}} {{json .Null}} {{json .Float}} {{json .Html}} {{json .Quote}}", "\"web\" [\"a\",\"b\",\"c\"] {\"x\":1,\"y\":\"z\"} null 1.5 \"<a&b>\" \"a\\\"b\\\\\\n\\u0001\u{e9}\""),
    ("{{join .List \", \"}} {{join .None \",\"}}| {{join .Config.Env \" \"}} {{join .Mixed \",\"}}", "a, b, c | A=1 B=2 1,x,<nil>,true,[2]"),
    ("{{split .Name \"e\"}} {{split \"a,b,c\" \",\"}} {{split \"abc\" \"\"}} {{index (split \"a:b\" \":\") 1}} {{len (split \"\" \",\")}}", "[w b] [a b c] [a b c] b 1"),
    ("{{lower \"\u{c0}B\"}} {{upper \"\u{e0}b\"}} {{title \"ab cd\"}} {{title .Title}}", "\u{e0}b \u{c0}B Ab Cd Hello Big_world It'S \u{c9}a"),
    ("{{truncate .Name 2}} {{truncate .Name 10}} {{pad .Name 1 2}}| {{pad \"\" 1 2}}|", "we web  web  | |"),
    ("{{range $i, $c := split \"a b\" \" \"}}{{$i}}{{$c}}{{end}}", "0a1b"),
    ("{{with $x := 3}}{{$x}}{{end}}{{with 0}}a{{else}}b{{end}}", "3b"),
    ("{{range $k, $v := .Map}}{{$k}}:{{$v}} {{end}}", "x:1 y:z "),
    ("{{range .List}}{{range $.Nums}}{{.}}{{end}}{{end}}", "123123123"),
    ("{{range .List}}{{.}}{{range $.Nums}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}{{end}}", "a1b1c1"),
    ("{{ \"a\" | printf \"%s%s\" \"b\" | upper }}", "BA"),
    ("{{- 3}} {{3 -}} x", "3 3x"),
    ("{{ -3 }}", "-3"),
    ("{{.Labels.a}}", "1"),
    ("{{.Name}} }} {{\"}}\"}}", "web }} }}"),
    ("{{$}}", "map[Config:map[Deep:map[N:[map[K:v1] map[K:v2]]] Env:[A=1 B=2] User:me] Empty: Float:1.5 Html:<a&b> Labels:map[a:1 b:2] Large:1e+21 List:[a b c] Map:map[x:1 y:z] Mixed:[1 x <nil> true [2]] Name:web Neg:-5 No:false None:[] Null:<nil> Nums:[1 2 3] Quote:a\"b\\\n\u{1}\u{e9} Size:1234 Tiny:1e-05 Title:hello big_world it's \u{e9}a Whole:1e+06 Yes:true Zero:0]"),
    ("{{printf \"%v\" .Config.Deep.N}}", "[map[K:v1] map[K:v2]]"),
    ("{{with .Config}}{{with .Deep}}{{len .N}}{{$.Name}}{{end}}{{end}}", "2web"),
    ("{{if eq 1 1}}{{\"{{\"}}{{end}}", "{{"),
    ("{{range .List}}{{.}}{{\"\\n\"}}{{end}}", "a\nb\nc\n"),
    ("{{if not .Empty}}{{if .Yes}}deep{{end}}{{end}}", "deep"),
    ("{{index .Nums 1}}", "2"),
    ("{{index .Nums}}", "[1 2 3]"),
    ("{{print (printf \"%d\" 3) | len}}", "1"),
    ("{{html .Html}} {{html \"a\\\"'b\"}} {{.Html | html}} {{html .List 1 2}}", "&lt;a&amp;b&gt; a&#34;&#39;b &lt;a&amp;b&gt; [a b c] 1 2"),
    ("{{urlquery \"a b&c/d~-_.\"}} {{urlquery \"\u{e9}\"}}", "a+b%26c%2Fd~-_. %C3%A9"),
    ("{{js \"it's <a> \\\"b\\\" = & \\\\\"}} {{js \"a\\nb\"}}", "it\\'s \\u003Ca\\u003E \\\"b\\\" \\u003D \\u0026 \\\\ a\\u000Ab"),
    ("{{- /* a */ -}}", ""),
    ("{{/* a */ -}} x", "x"),
];

/// Templates that Go refuses, too, and what is said here.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("{{range .Name}}x{{end}}", "column 9: range cannot go through a text"),
    ("{{range .Float}}x{{end}}", "column 9: range cannot go through a number"),
    ("{{len .Zero}}", "column 3: len of a number is not known"),
    ("{{index .List 5}}", "column 3: index 5 is outside of a list of 3"),
    ("{{index .List -1}}", "column 3: index -1 is outside of a list of 3"),
    ("{{index .List \"a\"}}", "column 3: a list has no index that is a text"),
    ("{{slice .List 2 1}}", "column 3: slice from 2 to 1 goes backwards"),
    ("{{slice .Name 9}}", "column 3: index 9 is outside of what has a length of 3"),
    ("{{eq .Name 1}}", "column 3: a text cannot be compared with a number"),
    ("{{eq .List .List}}", "column 3: lists and objects cannot be compared"),
    ("{{lt .Yes .No}}", "column 3: lt compares numbers or texts only"),
    ("{{eq 1}}", "column 3: eq wants at least 2 arguments, it has 1"),
    ("{{upper .Size}}", "column 3: upper wants a text, this is a number"),
    ("{{join .Name \",\"}}", "column 3: join wants a list, this is a text"),
    ("{{.Missing}}", "column 3: no field \"Missing\"; there are Config, Empty"),
    ("{{.Config.Missing}}", "column 10: no field \"Missing\"; there are Deep, Env, User"),
    ("{{.Name.Missing}}", "column 8: no field \"Missing\"; what should have it is a text"),
    ("{{.Null.Missing}}", "column 8: no field \"Missing\"; there is nothing that could have it"),
    ("{{.Labels.missing}}", "column 10: no field \"missing\"; there are a, b"),
    ("{{nope}}", "column 3: there is no function \"nope\""),
    ("{{.Name", "column 1: \"{{\" has no \"}}\""),
    ("{{.Name}", "column 8: '}' is not expected here"),
    ("{{end}}", "column 1: \"end\" closes nothing"),
    ("{{else}}", "column 1: \"else\" belongs to no if, with or range"),
    ("{{if}}x{{end}}", "column 1: a value is missing"),
    ("{{if .Name}}x", "column 1: \"if\" has no \"end\""),
    ("{{if .Name}}x{{else}}y{{else}}z{{end}}", "column 23: this is a second \"else\""),
    ("{{range .List}}{{end}}{{break}}", "column 23: \"break\" is in no range"),
    ("{{$y}}", "column 3: $y is not declared"),
    ("{{$y = 1}}", "column 3: $y is not declared"),
    ("{{| .Name}}", "column 3: a value is missing"),
    ("{{}}", "column 1: a value is missing"),
    ("{{.Name | 3}}", "column 11: only a function can stand after \"|\""),
    ("{{.Name | .Size}}", "column 11: this is no function, so it takes no arguments"),
    ("{{.Name 3}}", "column 3: this is no function, so it takes no arguments"),
    ("{{3 4}}", "column 3: this is no function, so it takes no arguments"),
    ("{{nil}}", "column 3: nil alone is no command"),
    ("{{\"abc}}", "column 3: the text has no closing '\"'"),
    ("{{`abc}}", "column 3: the text has no closing \"`\""),
    ("{{'ab'}}", "column 3: this is not one character in quotes"),
    ("{{\"\\q\"}}", "column 4: the text has an escape that Go does not know"),
    ("{{1x}}", "column 3: \"1x\" is not a number"),
    ("{{/* never closed", "column 3: the comment has no end \"*/\""),
    ("{{/* a */ b}}", "column 10: a comment must end with \"*/}}\""),
    ("{{(.Name}}", "column 3: \"(\" has no \")\""),
    ("{{.Name)}}", "column 8: `)` is not expected here"),
    ("{{print\"a\"}}", "column 8: `\"a\"` is not expected here"),
    ("{{print(\"a\")}}", "column 8: `(` is not expected here"),
    ("{{len}}", "column 3: len wants 1 argument, it has 0"),
    ("{{print len}}", "column 9: len wants 1 argument, it has 0"),
    ("{{$x, $y := .List}}", "column 3: only a range sets two variables"),
    ("{{range $x, $y, $z := .List}}{{end}}", "column 9: $x is not declared"),
    ("{{#}}", "column 3: '#' is not expected here"),
    ("{{.Name.}}", "column 8: `.` is not expected here"),
    ("{{. Name}}", "column 5: there is no function \"Name\""),
    ("{{..Name}}", "column 4: `.Name` is not expected here"),
    ("{{if .Name}}{{$z := 1}}{{end}}{{$z}}", "column 33: $z is not declared"),
    ("{{eq .Missing nil}}", "column 6: no field \"Missing\"; there are Config, Empty"),
    ("{{not}}", "column 3: not wants 1 argument, it has 0"),
    ("{{true.A}}", "column 7: `.A` is not expected here"),
    ("{{printf 3}}", "column 3: printf wants a text, this is a number"),
    ("{{(eq 1 1).A}}", "column 11: no field \"A\"; what should have it is true or false"),
    ("{{lt 1 \"a\"}}", "column 3: a number cannot be compared with a text"),
    ("{{..Name}}", "column 4: `.Name` is not expected here"),
    ("{{.Name | }}", "column 1: a value is missing"),
    ("{{define \"x\"}}{{end}}", "\"define\" is not known here"),
    ("{{call .Name}}", "there is no function \"call\"; there are and eq"),
    ("a\n{{.Name}}\n{{nope}}", "line 3, column 3: there is no function"),
    ("{{join .List 3}}", "column 3: join wants a text, this is a number"),
    ("{{truncate .Name -1}}", "a number from 0 to 1000000, not -1"),
];

/// What is meant is plain, and Go refuses it because of the types that it has for numbers and for nothing.
#[rustfmt::skip]
const KINDER: &[(&str, &str)] = &[
    ("{{range $i, $e := 3}}{{$i}}{{$e}}{{end}}", "001122"),
    ("{{eq 1 1.0}}", "true"),
    ("{{le .Float 2}}", "true"),
    ("{{index .Null \"x\"}}", ""),
    ("{{len .Null}}", "0"),
];

fn render(template: &str, data: &Value) -> Result<String, String> {
    Template::parse(template)?.render(data)
}

#[test]
fn as_go_prints_it() {
    let data: Value = serde_json::from_str(DATA).unwrap();
    for (template, text) in GO.iter().chain(KINDER) {
        let rendered = render(template, &data);
        assert_eq!(rendered.as_deref(), Ok(*text), "{template}");
    }
}

#[test]
fn what_is_refused_and_where() {
    let data: Value = serde_json::from_str(DATA).unwrap();
    for (template, part) in REFUSED {
        let error = render(template, &data).expect_err(template);
        assert!(error.contains(part), "{template}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn objects_keep_their_order_as_json() {
    let data: Value = serde_json::from_str(r#"{"b":1,"a":{"d":"<&>","c":null}}"#).unwrap();
    let text = render("{{json .}}", &data).unwrap();
    assert_eq!(text, r#"{"b":1,"a":{"d":"<&>","c":null}}"#);
}

#[test]
fn headers_pass_through_what_changes_values() {
    let names = json!({"ID": "IMAGE ID", "Size": "SIZE"});
    for (template, header) in [
        ("{{.ID}}\t{{.Size}}", "IMAGE ID\tSIZE"),
        (
            "{{json .ID}} {{lower .ID}} {{title .ID}}",
            "IMAGE ID IMAGE ID IMAGE ID",
        ),
        ("{{truncate .ID 3}} {{.ID | pad \"x\"}}", ""),
        (
            "{{pad .Size 3 3}}|{{split .ID \" \"}}|{{join .ID \",\"}}",
            "SIZE|IMAGE ID|IMAGE ID",
        ),
        ("{{if .ID}}{{.ID}}{{end}}", "IMAGE ID"),
        ("{{printf \"%-6s|\" .Size}}", "SIZE  |"),
    ] {
        let result = Template::parse(template).unwrap().header(&names);
        match result {
            Ok(text) => assert_eq!(text, header, "{template}"),
            Err(error) => assert!(header.is_empty(), "{template}: {error}"),
        }
    }
    let error = Template::parse("{{.Nope}}").unwrap().header(&names);
    assert_eq!(
        error.unwrap_err(),
        "column 3: no field \"Nope\"; there are ID, Size"
    );
}

#[test]
fn nothing_is_too_deep() {
    let deep = |count: usize| format!("{{{{{}1{}}}}}", "(".repeat(count), ")".repeat(count));
    assert_eq!(render(&deep(100), &Value::Null).as_deref(), Ok("1"));
    for template in [
        deep(100_000),
        "{{if 1}}".repeat(100_000),
        format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(100_000)),
    ] {
        let error = Template::parse(&template).unwrap_err();
        assert!(error.contains("more than 100 levels"), "{error}");
    }
}

/// Whatever is cut out of a template or put into it, the answer is a text or one line that says what is wrong.
#[test]
fn nothing_makes_it_panic() {
    let data: Value = serde_json::from_str(DATA).unwrap();
    let bits = ["", "{{", "}}", "(", "\"", ".", "%", "\u{e9}"];
    for (template, _) in GO.iter().chain(REFUSED) {
        for at in (0..=template.len()).filter(|at| template.is_char_boundary(*at)) {
            let (before, after) = template.split_at(at);
            let mut rest = after.chars();
            rest.next();
            for bit in bits {
                let after = if bit.is_empty() { rest.as_str() } else { after };
                let changed = format!("{before}{bit}{after}");
                if let Err(error) = render(&changed, &data) {
                    assert!(!error.contains('\n') && error.contains("column"), "{error}");
                }
            }
        }
    }
}
