# Succeeds if there is a certificate of these names that is valid for 30 days more.
[ -s "$FILE.key" ] || exit
openssl x509 -in "$FILE.crt" -noout -checkend 2592000 >/dev/null || exit
names=$(openssl x509 -in "$FILE.crt" -noout -ext subjectAltName | sed -n '2s/ //gp' | sed 's/IPAddress:/IP:/g')
[ "$names" = "$NAMES" ]
